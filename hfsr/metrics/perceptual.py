"""The distances between what a network sees in two pictures, by torchmetrics.

Pictures are RGB uint8 or float in [0, 255], (H, W, 3), or gray (H, W). The networks' weights are
torchvision's, which downloads them once.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from hfsr._compat import import_torchvision
from hfsr.errors import HfsrError, MissingDependencyError

from .fidelity import PEAK, inner_pair

__all__ = ["LpipsNet", "dists", "lpips"]

LpipsNet = Literal["alex", "squeeze", "vgg"]

_NETWORK_SIDE = 32
"""px: what the deepest layer of the networks needs."""
_WEIGHTS = {"alex": "AlexNet", "dists": "VGG16", "squeeze": "SqueezeNet1_1", "vgg": "VGG16"}
"""Torchvision's names of the weights that a measure looks through."""


def lpips(sr: NDArray, gt: NDArray, *, crop: int = 0, net: LpipsNet = "alex") -> float:
    """Learned perceptual distance (Zhang et al. 2018, version 0.1), on RGB.

    Args:
        sr, gt, crop: as `hfsr.metrics.psnr`.
        net: through which network: AlexNet as in most tables, SqueezeNet or VGG16.

    Returns:
        At least 0, for equal pictures.

    Raises:
        ImageError: as `psnr`; at least 32 px must be left on each side.
        HfsrError: the network's weights are neither here nor to be had.
        MissingDependencyError: torchmetrics or torchvision is not installed.
    """
    return _distance(_lpips_network(net), sr, gt, crop)


def dists(sr: NDArray, gt: NDArray, *, crop: int = 0) -> float:
    """Deep image structure and texture distance (Ding et al. 2020), on RGB through VGG16.

    Arguments and errors as `lpips`.

    Returns:
        0 to 1, 0 for equal pictures.
    """
    return _distance(_dists_network(), sr, gt, crop)


def _distance(network: Any, sr: NDArray, gt: NDArray, crop: int) -> float:
    pair = inner_pair(sr, gt, crop=crop, channel="rgb", need=_NETWORK_SIDE)
    a, b = (torch.from_numpy(x / PEAK).float().permute(2, 0, 1)[None] for x in pair)
    with torch.inference_mode():
        return float(network(a, b))


@functools.cache
def _lpips_network(net: str) -> Any:
    package = _torchmetrics("torchmetrics.image.lpip")
    return _with_weights(
        net, lambda: package.LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)
    )


@functools.cache
def _dists_network() -> Any:
    package = _torchmetrics("torchmetrics.functional.image.dists")
    return _with_weights("dists", lambda: package.DISTSNetwork().eval())


def _torchmetrics(name: str) -> Any:
    import_torchvision()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "torchmetrics", extra="train", purpose="this metric"
        ) from error


def _with_weights(measure: str, build: Callable[[], Any]) -> Any:
    """Builds a network; says where its weights belong when torchvision cannot fetch them."""
    models = importlib.import_module("torchvision.models")
    address = getattr(models, f"{_WEIGHTS[measure]}_Weights").DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    state = torch.random.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()
    except (OSError, RuntimeError) as error:  # no network, or a file that is not whole
        reason = " ".join(str(error).split())[:120]
        name = "DISTS" if measure == "dists" else "LPIPS"
        raise HfsrError(
            f"the metric {name} needs the weights {os.path.basename(address)}, which are not whole in "
            f"'{folder}' and cannot be fetched ({reason}); put {address} there, or leave the metric out"
        ) from error
    finally:
        torch.random.set_rng_state(state)  # fresh weights were drawn before the right ones were read
