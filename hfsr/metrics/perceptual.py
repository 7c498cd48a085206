"""Perceptual metrics: LPIPS and DISTS.

Images are RGB uint8 or float in [0, 255], (H, W, 3), or gray (H, W). torchvision downloads the weights of the
networks on first use.
"""

from __future__ import annotations

import functools
import warnings

import torch
from numpy.typing import NDArray
from torch import nn

from hfsr.errors import HfsrError

from .fidelity import PEAK, cropped_channels
from .perceptual_networks import MIN_SIDE, DistsNetwork, LpipsNet, LpipsNetwork, backbone, classifier_weights

__all__ = ["LpipsNet", "dists", "lpips"]


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
    return LpipsNetwork(net, _pretrained(net, "LPIPS"))


@functools.cache
def _dists_network() -> DistsNetwork:
    return DistsNetwork(_pretrained("vgg", "DISTS"))


def _pretrained(net: str, metric: str) -> nn.Sequential:
    """Builds a classifier; if its weights cannot be downloaded, the error says where to put them."""
    url, file = classifier_weights(net)
    state = torch.random.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return backbone(net, pretrained=True)
    except (OSError, RuntimeError) as error:  # no connection, or an incomplete file
        reason = " ".join(str(error).split())[:120]
        raise HfsrError(
            f"the metric {metric} needs the weights {file.name}, which are missing or "
            f"incomplete in '{file.parent}' and cannot be downloaded ({reason}); put {url} there, or remove "
            "the metric"
        ) from error
    finally:
        # torchvision draws random weights before it loads the pretrained ones.
        torch.random.set_rng_state(state)
