"""Metrics for `val.metrics` of option files, with BasicSR's names and arguments.

Like BasicSR's metrics they take BGR uint8 images (H, W, 3), so an option file works in both programs. The
default of `better` states if higher or lower values are better. NIQE is BasicSR's own `calculate_niqe`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.registry import METRICS

from .fidelity import Channel, ms_ssim, psnr, ssim, zncc
from .perceptual import LpipsNet, dists, lpips

__all__ = [
    "calculate_dists",
    "calculate_lpips",
    "calculate_msssim",
    "calculate_psnr",
    "calculate_ssim",
    "calculate_zncc",
]

Better = Literal["higher", "lower"]
Pixels = NDArray[np.uint8]


@METRICS.register
def calculate_psnr(
    img: Pixels,
    img2: Pixels,
    *,
    crop_border: int,
    input_order: Literal["HWC"] = "HWC",
    test_y_channel: bool = False,
    better: Better = "higher",
) -> float:
    """PSNR in dB of `img` against `img2`, with `crop_border` px cropped from each side, on luma or RGB."""
    return psnr(_rgb(img), _rgb(img2), crop=crop_border, channel=_channel(test_y_channel))


@METRICS.register
def calculate_ssim(
    img: Pixels,
    img2: Pixels,
    *,
    crop_border: int,
    input_order: Literal["HWC"] = "HWC",
    test_y_channel: bool = False,
    better: Better = "higher",
) -> float:
    """SSIM of `img` against `img2`; arguments as for `calculate_psnr`."""
    return ssim(_rgb(img), _rgb(img2), crop=crop_border, channel=_channel(test_y_channel))


@METRICS.register
def calculate_msssim(
    img: Pixels,
    img2: Pixels,
    *,
    crop_border: int,
    test_y_channel: bool = False,
    better: Better = "higher",
) -> float:
    """MS-SSIM of `img` against `img2`; arguments as for `calculate_psnr`."""
    return ms_ssim(_rgb(img), _rgb(img2), crop=crop_border, channel=_channel(test_y_channel))


@METRICS.register
def calculate_zncc(
    img: Pixels,
    img2: Pixels,
    *,
    crop_border: int,
    test_y_channel: bool = False,
    better: Better = "higher",
) -> float:
    """Zero-mean normalized cross-correlation of `img` and `img2`; arguments as for `calculate_psnr`."""
    return zncc(_rgb(img), _rgb(img2), crop=crop_border, channel=_channel(test_y_channel))


@METRICS.register
def calculate_lpips(
    img: Pixels, img2: Pixels, *, crop_border: int = 0, net: LpipsNet = "alex", better: Better = "lower"
) -> float:
    """LPIPS between `img` and `img2` on RGB, with AlexNet, SqueezeNet or VGG16."""
    return lpips(_rgb(img), _rgb(img2), crop=crop_border, net=net)


@METRICS.register
def calculate_dists(img: Pixels, img2: Pixels, *, crop_border: int = 0, better: Better = "lower") -> float:
    """DISTS between `img` and `img2` on RGB."""
    return dists(_rgb(img), _rgb(img2), crop=crop_border)


def _rgb(image: Pixels) -> Pixels:
    """Returns BGR as RGB; gray (H, W) stays."""
    return image if image.ndim == 2 else image[..., ::-1]


def _channel(luma: bool) -> Channel:
    return "y" if luma else "rgb"
