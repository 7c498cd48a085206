"""PSNR and SSIM as the tables of super-resolution state them, MS-SSIM and ZNCC; float64 throughout.

Luma is MATLAB's. A gray picture counts as RGB with three equal channels, as in BasicSR and its relatives.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.colour import rgb_to_y

__all__ = ["PEAK", "Channel", "inner_pair", "ms_ssim", "psnr", "ssim", "zncc"]

Channel = Literal["y", "rgb"]

PEAK = 255.0
_BAND = 1 << 15  # values of one map of SSIM
_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


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
    a, b = inner_pair(sr, gt, crop=crop, channel=channel)
    error = float(np.mean(np.square(a - b)))
    return 10 * math.log10(PEAK**2 / error) if error > 0 else math.inf


def ssim(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Structural similarity: 11x11 Gaussian window of sigma 1.5, whole windows only, K = (0.01, 0.03).

    With channel "rgb", the mean of the three channels' SSIM.

    Arguments and errors as `psnr`; at least 11 px must be left on each side.

    Returns:
        At most 1, for equal pictures.
    """
    a, b = inner_pair(sr, gt, crop=crop, channel=channel, need=2 * _RADIUS + 1)
    return float(np.mean([_ssim_of(a[..., k], b[..., k])[0] for k in range(a.shape[-1])]))


def ms_ssim(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """SSIM over five scales (Wang et al. 2003): contrast and structure of all, luminance of the coarsest.

    torchmetrics' reflects the border into its coarsest windows; here, as in `ssim`, only whole windows count.

    Arguments and errors as `ssim`; at least 176 px must be left on each side.

    Returns:
        At most 1, for equal pictures.
    """
    coarsest = len(_SCALE_WEIGHTS) - 1
    need = (2 * _RADIUS + 1) << coarsest
    a, b = inner_pair(sr, gt, crop=crop, channel=channel, need=need)
    product = np.ones(a.shape[-1])
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        means = np.array([_ssim_of(a[..., k], b[..., k]) for k in range(a.shape[-1])])
        product *= np.maximum(means[:, 0 if scale == coarsest else 1], 0) ** weight
        a, b = _halved(a), _halved(b)
    return float(product.mean())


def zncc(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Zero-mean normalised cross-correlation over the whole picture; blind to brightness and contrast.

    With channel "rgb", the mean of the three channels'. Arguments and errors as `psnr`.

    Returns:
        -1 to 1, for pictures that differ in brightness and contrast alone; 0 where one of them is flat.
    """
    a, b = inner_pair(sr, gt, crop=crop, channel=channel)
    a, b = (x - x.mean(axis=(0, 1)) for x in (a, b))
    norm = np.sqrt(np.sum(a * a, axis=(0, 1)) * np.sum(b * b, axis=(0, 1)))
    product = np.sum(a * b, axis=(0, 1))
    varied = norm > 1e-12 * PEAK**2 * a.shape[0] * a.shape[1]  # less is rounding of a flat picture
    return float(np.mean(np.divide(product, norm, out=np.zeros_like(product), where=varied)))


def inner_pair(
    sr: NDArray, gt: NDArray, *, crop: int, channel: Channel, need: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is measured of two pictures: (h, w, 1) of luma or (h, w, 3), in [0, 255].

    Arguments and errors as `psnr`; at least `need` px must be left on each side.
    """
    _check(sr, gt, crop, need)
    return _channels(sr, crop, channel), _channels(gt, crop, channel)


def _check(sr: NDArray, gt: NDArray, crop: int, need: int) -> None:
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


def _channels(image: NDArray, crop: int, channel: Channel) -> NDArray[np.float64]:
    """The cropped picture as float64 (h, w, channels); gray stands for three equal channels."""
    if channel not in ("y", "rgb"):
        raise ValueError(f"channel '{channel}' is unknown; choose 'y' or 'rgb'")
    inner = image[crop : image.shape[0] - crop, crop : image.shape[1] - crop]
    if channel == "y":
        return rgb_to_y(np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner)[..., None]
    return (np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner).astype(np.float64)


def _halved(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2x2 px, an odd last row or column left out: (h, w, c) to (h // 2, w // 2, c)."""
    height, width, channels = image.shape
    even = image[: height // 2 * 2, : width // 2 * 2]
    return even.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def _ssim_of(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """SSIM of one channel, and its part of contrast and structure.

    In bands of rows, so that the maps stay in the processor's cache.
    """
    height = a.shape[0] - 2 * _RADIUS
    rows = max(8, _BAND // a.shape[1])
    total = contrast = 0.0
    for start in range(0, height, rows):
        band = slice(start, min(start + rows, height) + 2 * _RADIUS)
        whole, part = _ssim_maps(a[band], b[band])
        total += float(np.sum(whole))
        contrast += float(np.sum(part))
    windows = height * (a.shape[1] - 2 * _RADIUS)
    return total / windows, contrast / windows


def _ssim_maps(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    variances = _smooth(a * a + b * b) - squares
    covariance = _smooth(a * b) - product
    contrast = (2 * covariance + c2) / (variances + c2)
    return (2 * product + c1) / (squares + c1) * contrast, contrast


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
