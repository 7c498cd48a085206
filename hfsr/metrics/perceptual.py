"""Perceptual metrics of torchmetrics: LPIPS and DISTS.

Images are RGB uint8 or float in [0, 255], (H, W, 3), or gray (H, W). torchvision downloads the weights of the
networks on first use.
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

from .fidelity import PEAK, cropped_channels

__all__ = ["LpipsNet", "dists", "lpips"]

LpipsNet = Literal["alex", "squeeze", "vgg"]

_MIN_SIDE = 32
"""Minimum side of an image in px; the deepest layers of the networks need it."""
_WEIGHTS = {"alex": "AlexNet", "dists": "VGG16", "squeeze": "SqueezeNet1_1", "vgg": "VGG16"}
"""Name of torchvision's weights for each network."""


def lpips(sr: NDArray, gt: NDArray, *, crop: int = 0, net: LpipsNet = "alex") -> float:
    """Learned perceptual image patch similarity (Zhang et al. 2018, version 0.1), on RGB.

    Args:
        sr: as `hfsr.metrics.psnr`.
        gt: as `sr`, with the same height and width.
        crop: px cropped from each side before measuring.
        net: AlexNet (as in most papers), SqueezeNet or VGG16.

    Returns:
        At least 0; 0 for equal images.

    Raises:
        ImageError: as for `psnr`; at least 32 px must be left on each side.
        HfsrError: the weights of the network are missing and cannot be downloaded.
        MissingDependencyError: torchmetrics or torchvision is not installed.
    """
    return _distance(_lpips_network(net), sr, gt, crop)


def dists(sr: NDArray, gt: NDArray, *, crop: int = 0) -> float:
    """Deep image structure and texture similarity (Ding et al. 2020), on RGB with VGG16.

    Arguments and errors as for `lpips`.

    Returns:
        0 to 1; 0 for equal images.
    """
    return _distance(_dists_network(), sr, gt, crop)


def _distance(network: Any, sr: NDArray, gt: NDArray, crop: int) -> float:
    pair = cropped_channels(sr, gt, crop=crop, channel="rgb", need=_MIN_SIDE)
    a, b = (torch.from_numpy(x / PEAK).float().permute(2, 0, 1)[None].expand(-1, 3, -1, -1) for x in pair)
    with torch.inference_mode():
        return float(network(a, b))


@functools.cache
def _lpips_network(net: str) -> Any:
    package = _import_torchmetrics("torchmetrics.image.lpip")
    return _build_with_weights(
        net, lambda: package.LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)
    )


@functools.cache
def _dists_network() -> Any:
    package = _import_torchmetrics("torchmetrics.functional.image.dists")
    return _build_with_weights("dists", lambda: package.DISTSNetwork().eval())


def _import_torchmetrics(name: str) -> Any:
    import_torchvision()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "torchmetrics", extra="train", purpose="this metric"
        ) from error


def _build_with_weights(measure: str, build: Callable[[], Any]) -> Any:
    """Builds a network; if its weights cannot be downloaded, the error says where to put them."""
    models = importlib.import_module("torchvision.models")
    url = getattr(models, f"{_WEIGHTS[measure]}_Weights").DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    state = torch.random.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()
    except (OSError, RuntimeError) as error:  # no connection, or an incomplete file
        reason = " ".join(str(error).split())[:120]
        name = "DISTS" if measure == "dists" else "LPIPS"
        raise HfsrError(
            f"the metric {name} needs the weights {os.path.basename(url)}, which are missing or "
            f"incomplete in '{folder}' and cannot be downloaded ({reason}); put {url} there, or remove the "
            "metric"
        ) from error
    finally:
        # torchvision draws random weights before it loads the pretrained ones.
        torch.random.set_rng_state(state)
