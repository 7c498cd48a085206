"""PSNR and SSIM as the tables of super-resolution state them; float64 throughout.

Luma is MATLAB's. A gray picture counts as RGB with three equal channels, as in BasicSR and its relatives.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.colour import rgb_to_y

__all__ = ["PEAK", "Channel", "psnr", "ssim"]

Channel = Literal["y", "rgb"]

PEAK = 255.0
_BAND = 1 << 15  # values of one map of SSIM
_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def psnr(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Peak signal-to-noise ratio, peak 255.

    Args:
        sr: RGB in [0, 255], uint8 or float, shape (H, W, 3), or gray (H, W).
        gt: likewise, of the same height and width.
        crop: px cut from every side before measuring.
        channel: "y" measures MATLAB's luma, "rgb" all three channels together.

    Returns:
        dB; infinity for equal pictures.

    Raises:
        ImageError: the sizes differ, a picture is neither gray nor RGB, or nothing is left after the crop.
    """
    a, b = (_channels(image, crop, channel) for image in _pair(sr, gt, crop, 1))
    error = float(np.mean(np.square(a - b)))
    return 10 * math.log10(PEAK**2 / error) if error > 0 else math.inf


def ssim(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Structural similarity: 11x11 Gaussian window of sigma 1.5, whole windows only, K = (0.01, 0.03).

    With channel "rgb", the mean of the three channels' SSIM.

    Arguments and errors as `psnr`; at least 11 px must be left on each side.

    Returns:
        At most 1, for equal pictures.
    """
    a, b = (_channels(image, crop, channel) for image in _pair(sr, gt, crop, 2 * _RADIUS + 1))
    return float(np.mean([_ssim_of(a[..., k], b[..., k]) for k in range(a.shape[-1])]))


def _pair(sr: NDArray, gt: NDArray, crop: int, need: int) -> tuple[NDArray, NDArray]:
    for name, image in (("result", sr), ("reference", gt)):
        if image.ndim != 2 and image.shape[2:] != (3,):
            raise ImageError(f"the {name} has shape {image.shape}; need gray (H, W) or RGB (H, W, 3)")
    if sr.shape[:2] != gt.shape[:2]:
        raise ImageError(
            f"the result is {sr.shape[1]}x{sr.shape[0]} px and the reference {gt.shape[1]}x{gt.shape[0]}; "
            "they must be equal"
        )
    if crop < 0 or min(gt.shape[:2]) - 2 * crop < need:
        raise ImageError(
            f"{gt.shape[1]}x{gt.shape[0]} px cannot be measured with {crop} px cut from each side; "
            f"at least {need} px must be left"
        )
    return sr, gt


def _channels(image: NDArray, crop: int, channel: Channel) -> NDArray[np.float64]:
    """The cropped picture as float64 (h, w, channels); gray stands for three equal channels."""
    if channel not in ("y", "rgb"):
        raise ValueError(f"channel '{channel}' is unknown; choose 'y' or 'rgb'")
    inner = image[crop : image.shape[0] - crop, crop : image.shape[1] - crop]
    if channel == "y":
        return rgb_to_y(np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner)[..., None]
    return (np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner).astype(np.float64)


def _ssim_of(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """SSIM of one channel, in bands of rows so that the maps stay in the processor's cache."""
    height = a.shape[0] - 2 * _RADIUS
    rows = max(8, _BAND // a.shape[1])
    total = 0.0
    for start in range(0, height, rows):
        band = slice(start, min(start + rows, height) + 2 * _RADIUS)
        total += float(np.sum(_ssim_map(a[band], b[band])))
    return total / (height * (a.shape[1] - 2 * _RADIUS))


def _ssim_map(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    variances = _smooth(a * a + b * b) - squares
    covariance = _smooth(a * b) - product
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian mean at every position that holds a whole window: (H, W) to (H - 10, W - 10)."""
    return _smooth_rows(_smooth_rows(image).T).T


def _smooth_rows(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same along axis 0: (H, W) to (H - 10, W)."""
    length = image.shape[0] - 2 * _RADIUS
    total = image[_RADIUS : _RADIUS + length] * _WINDOW[_RADIUS]
    for step in range(1, _RADIUS + 1):  # the window is symmetric: one product serves two rows
        above, below = _RADIUS - step, _RADIUS + step
        total += (image[above : above + length] + image[below : below + length]) * _WINDOW[below]
    return total
