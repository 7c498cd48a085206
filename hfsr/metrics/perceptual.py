"""Perceptual metrics: LPIPS and DISTS.

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
from typing import TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from hfsr._compat import import_torchvision
from hfsr.errors import HfsrError

from .fidelity import PEAK, cropped_channels
from .perceptual_networks import BACKBONES, MIN_SIDE, DistsNetwork, LpipsNet, LpipsNetwork, backbone

__all__ = ["LpipsNet", "dists", "lpips"]

N = TypeVar("N", bound=nn.Module)


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


def _distance(network: nn.Module, sr: NDArray, gt: NDArray, crop: int) -> float:
    pair = cropped_channels(sr, gt, crop=crop, channel="rgb", need=MIN_SIDE)
    a, b = (torch.from_numpy(x / PEAK).float().permute(2, 0, 1)[None].expand(-1, 3, -1, -1) for x in pair)
    with torch.inference_mode():
        return float(network(a, b))


@functools.cache
def _lpips_network(net: LpipsNet) -> LpipsNetwork:
    return _build_with_weights(net, "LPIPS", lambda: LpipsNetwork(net, backbone(net, pretrained=True)))


@functools.cache
def _dists_network() -> DistsNetwork:
    return _build_with_weights("vgg", "DISTS", lambda: DistsNetwork(backbone("vgg", pretrained=True)))


def _build_with_weights(net: str, name: str, build: Callable[[], N]) -> N:
    """Builds a network; if its weights cannot be downloaded, the error says where to put them."""
    import_torchvision()
    models = importlib.import_module("torchvision.models")
    url = getattr(models, f"{BACKBONES[net][1]}_Weights").DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    state = torch.random.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()
    except (OSError, RuntimeError) as error:  # no connection, or an incomplete file
        reason = " ".join(str(error).split())[:120]
        raise HfsrError(
            f"the metric {name} needs the weights {os.path.basename(url)}, which are missing or "
            f"incomplete in '{folder}' and cannot be downloaded ({reason}); put {url} there, or remove the "
            "metric"
        ) from error
    finally:
        # torchvision draws random weights before it loads the pretrained ones.
        torch.random.set_rng_state(state)
