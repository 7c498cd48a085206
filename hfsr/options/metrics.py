"""PSNR and SSIM under BasicSR's names and words, for `val.metrics`.

Like BasicSR's metrics they take BGR uint8 (H, W, 3) pictures, so an option file means the same in both.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.metrics import psnr, ssim
from hfsr.registry import METRICS

__all__ = ["calculate_psnr", "calculate_ssim"]


@METRICS.register
def calculate_psnr(
    img: NDArray[np.uint8],
    img2: NDArray[np.uint8],
    *,
    crop_border: int,
    input_order: Literal["HWC"] = "HWC",
    test_y_channel: bool = False,
    better: Literal["higher", "lower"] = "higher",
) -> float:
    """PSNR in dB of `img` against `img2`, `crop_border` px cut from each side, on luma or on all channels."""
    return psnr(img[..., ::-1], img2[..., ::-1], crop=crop_border, channel="y" if test_y_channel else "rgb")


@METRICS.register
def calculate_ssim(
    img: NDArray[np.uint8],
    img2: NDArray[np.uint8],
    *,
    crop_border: int,
    input_order: Literal["HWC"] = "HWC",
    test_y_channel: bool = False,
    better: Literal["higher", "lower"] = "higher",
) -> float:
    """SSIM of `img` against `img2`; arguments as `calculate_psnr`."""
    return ssim(img[..., ::-1], img2[..., ::-1], crop=crop_border, channel="y" if test_y_channel else "rgb")
