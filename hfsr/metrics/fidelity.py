"""PSNR and SSIM by the protocol of super-resolution papers, MS-SSIM and ZNCC, in float64.

Luma is MATLAB's `rgb2ycbcr`. A gray image counts as RGB with three equal channels, as in BasicSR.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.color import rgb_to_y

__all__ = ["PEAK", "Channel", "cropped_channels", "ms_ssim", "psnr", "ssim", "zncc"]

Channel = Literal["y", "rgb"]

PEAK = 255.0
_BAND_ELEMENTS = 1 << 15
"""Elements of an SSIM map that are computed at a time, so that they stay in the CPU cache."""
_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Peak signal-to-noise ratio, peak 255.

    Args:
        sr: RGB in [0, 255], uint8 or float, shape (H, W, 3), gray (H, W), or luma (H, W, 1).
        gt: as `sr`, with the same height and width.
        crop: px cropped from each side before measuring.
        channel: "y" compares MATLAB's luma, "rgb" all three channels together.

    Returns:
        dB; infinity for equal images, NaN if a value is NaN.

    Raises:
        ImageError: the sizes differ, an image is neither gray nor RGB or has integers of another type than
            uint8, or nothing is left after the crop.
    """
    a, b = cropped_channels(sr, gt, crop=crop, channel=channel)
    error = float(np.mean(np.square(a - b)))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Structural similarity: 11x11 Gaussian window of sigma 1.5, valid positions only, K = (0.01, 0.03).

    With channel "rgb", the mean over the three channels.

    Arguments and errors as for `psnr`; at least 11 px must be left on each side.

    Returns:
        At most 1; 1 for equal images.
    """
    a, b = cropped_channels(sr, gt, crop=crop, channel=channel, need=2 * _RADIUS + 1)
    return float(np.mean([_mean_ssim(a[..., k], b[..., k])[0] for k in range(a.shape[-1])]))


def ms_ssim(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Multi-scale SSIM (Wang et al. 2003): contrast and structure at five scales, luminance at the coarsest.

    Only windows inside the image count, as in `ssim`; torchmetrics pads by reflection.

    Arguments and errors as for `ssim`; at least 176 px must be left on each side.

    Returns:
        At most 1; 1 for equal images.
    """
    coarsest = len(_SCALE_WEIGHTS) - 1
    need = (2 * _RADIUS + 1) << coarsest
    a, b = cropped_channels(sr, gt, crop=crop, channel=channel, need=need)
    product = np.ones(a.shape[-1])
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        means = np.array([_mean_ssim(a[..., k], b[..., k]) for k in range(a.shape[-1])])
        product *= np.maximum(means[:, 0 if scale == coarsest else 1], 0) ** weight
        a, b = _downsample_by_2(a), _downsample_by_2(b)
    return float(product.mean())


def zncc(sr: NDArray, gt: NDArray, *, crop: int = 0, channel: Channel = "y") -> float:
    """Zero-mean normalized cross-correlation of whole images; independent of brightness and contrast.

    With channel "rgb", the mean over the three channels. Arguments and errors as for `psnr`.

    Returns:
        -1 to 1; 1 if the images differ only in brightness and contrast; 0 if one of them is constant.
    """
    a, b = cropped_channels(sr, gt, crop=crop, channel=channel)
    a, b = (x - x.mean(axis=(0, 1)) for x in (a, b))
    norm = np.sqrt(np.sum(a * a, axis=(0, 1)) * np.sum(b * b, axis=(0, 1)))
    product = np.sum(a * b, axis=(0, 1))
    # Smaller norms are rounding errors of a constant image.
    is_varied = norm > 1e-12 * PEAK**2 * a.shape[0] * a.shape[1]
    return float(np.mean(np.divide(product, norm, out=np.zeros_like(product), where=is_varied)))


def cropped_channels(
    sr: NDArray, gt: NDArray, *, crop: int, channel: Channel, need: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the cropped channels that a metric compares: (h, w, 1) luma or (h, w, 3), in [0, 255].

    Arguments and errors as for `psnr`; at least `need` px must be left on each side.
    """
    _check(sr, gt, crop, need)
    return _crop_channels(sr, crop, channel), _crop_channels(gt, crop, channel)


def _check(sr: NDArray, gt: NDArray, crop: int, need: int) -> None:
    for name, image in (("result", sr), ("reference", gt)):
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ImageError(
                f"the {name} has {image.dtype} values; need uint8 or floats in [0, 255]: divide 16 bit by 257"
            )
        if image.ndim != 2 and image.shape[2:] not in ((1,), (3,)):
            raise ImageError(f"the {name} has shape {image.shape}; need gray (H, W) or RGB (H, W, 3)")
    if (1,) in (sr.shape[2:], gt.shape[2:]) and sr.shape[2:] != gt.shape[2:]:
        raise ImageError(
            f"the reference has shape {gt.shape} and the result {sr.shape}; luma (H, W, 1) compares with luma"
        )
    if sr.shape[:2] != gt.shape[:2]:
        raise ImageError(
            f"the result is {sr.shape[1]}x{sr.shape[0]} px and the reference {gt.shape[1]}x{gt.shape[0]}; "
            "they must be equal"
        )
    if crop < 0 or min(gt.shape[:2]) - 2 * crop < need:
        raise ImageError(
            f"{gt.shape[1]}x{gt.shape[0]} px cannot be compared with {crop} px cropped from each side; "
            f"at least {need} px must be left"
        )


def _crop_channels(image: NDArray, crop: int, channel: Channel) -> NDArray[np.float64]:
    """Returns the cropped image as float64 (h, w, channels); gray is repeated to three channels.

    (h, w, 1) is luma and stays as it is.
    """
    if channel not in ("y", "rgb"):
        raise ValueError(f"channel '{channel}' is unknown; choose 'y' or 'rgb'")
    inner = image[crop : image.shape[0] - crop, crop : image.shape[1] - crop]
    if inner.shape[2:] == (1,):
        return inner.astype(np.float64)
    if channel == "y":
        return rgb_to_y(np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner)[..., None]
    return (np.repeat(inner[..., None], 3, axis=2) if inner.ndim == 2 else inner).astype(np.float64)


def _downsample_by_2(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Averages 2x2 px and drops an odd last row or column: (h, w, c) to (h // 2, w // 2, c)."""
    height, width, channels = image.shape
    even = image[: height // 2 * 2, : width // 2 * 2]
    return even.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def _mean_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the mean SSIM of one channel, and the mean of its contrast-structure term.

    Works in bands of rows, so that intermediate arrays stay in the CPU cache.
    """
    height = a.shape[0] - 2 * _RADIUS
    rows = max(8, _BAND_ELEMENTS // a.shape[1])
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
    """Applies the Gaussian window at all valid positions: (H, W) to (H - 10, W - 10)."""
    return _smooth_rows(_smooth_rows(image).T).T


def _smooth_rows(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Applies the Gaussian window along axis 0: (H, W) to (H - 10, W)."""
    length = image.shape[0] - 2 * _RADIUS
    total = image[_RADIUS : _RADIUS + length] * _WINDOW[_RADIUS]
    for step in range(1, _RADIUS + 1):  # the window is symmetric, so two rows share one multiplication
        above, below = _RADIUS - step, _RADIUS + step
        total += (image[above : above + length] + image[below : below + length]) * _WINDOW[below]
    return total
