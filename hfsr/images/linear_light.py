"""Images of floating-point samples, mostly linear light: the sRGB curve, and conversion to integers.

A color profile says what the numbers mean. Without one they are linear light.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.alpha_bleed import LEAST_OPACITY
from hfsr.images.loaded_image import LoadedImage
from hfsr.images.metadata.color_profile import is_linear_profile, with_srgb_curve

__all__ = [
    "LINEAR",
    "as_integers",
    "check_floats",
    "interpretation_notes",
    "is_linear",
    "limited_opacity",
    "lost_light_notes",
    "srgb_encoded",
]

LINEAR = "its floating-point samples were interpreted as linear light"
_UNUSABLE = f"{LINEAR}, because its color profile cannot be used"
_ROUNDING = 1e-3
_BAND = 1 << 20  # values converted at once


def is_linear(image: LoadedImage) -> bool:
    """Returns True for floats that are linear light: the profile says so, or there is none."""
    if image.pixels.dtype != np.float32:
        return False
    return image.icc is None or is_linear_profile(image.icc) is not False


def interpretation_notes(icc: bytes | None) -> list[str]:
    """Returns a note if no color profile says what floating-point samples mean."""
    if icc is None:
        return [LINEAR]
    return [_UNUSABLE] if is_linear_profile(icc) is None else []


def check_floats(samples: NDArray[np.float32]) -> list[str]:
    """Checks samples of a file; returns a note if some are negative.

    Raises:
        ImageError: samples are NaN or infinite.
    """
    low, high = float(samples.min()), float(samples.max())  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("its floating-point samples hold NaN or infinite values; replace them first")
    return ["its negative samples were set to 0"] if low < 0 else []


def limited_opacity(alpha: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[str]]:
    """Limits opacity to [0, 1]; returns it, and a note if some was outside.

    Raises:
        ImageError: it is NaN.
    """
    low, high = float(alpha.min()), float(alpha.max())  # NaN if there is one
    if not low <= high:
        raise ImageError("its opacity holds NaN; replace it first")
    is_outside = low < -_ROUNDING or high > 1 + _ROUNDING
    notes = ["its opacity outside of 0 to 1 was set to 0 or 1"] if is_outside else []
    return np.clip(alpha, 0, 1), notes


def lost_light_notes(
    colors: NDArray[np.float32], alpha: NDArray[np.float32], smallest_divisor: float
) -> list[str]:
    """Returns a note if premultiplied samples held light without opacity, as glow does.

    Args:
        colors: the samples, divided by their opacity, (H, W) or (H, W, 3).
        alpha: opacity (H, W).
        smallest_divisor: divisor where the opacity was below it.
    """
    hidden = alpha < LEAST_OPACITY
    divisors = np.maximum(alpha[hidden], smallest_divisor)
    light = colors[hidden].reshape(len(divisors), colors[0, 0].size) * divisors[:, None]
    return ["its light without opacity (glow) was left out"] if (light > _ROUNDING).any() else []


def as_integers(image: LoadedImage, bits: int = 16) -> LoadedImage:
    """Converts floats to integers; values above 1 are clipped, with a note.

    Linear light gets the curve of sRGB, and its color profile too. Other samples are on the curve of their
    profile already.

    Args:
        image: image of floats; others are returned unchanged.
        bits: 8 or 16.
    """
    if image.pixels.dtype != np.float32:
        return image
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    peak = float(np.iinfo(dtype).max)
    is_encoded, icc, what = _integer_coding(image, bits)
    flat = image.pixels.reshape(-1)
    pixels = np.empty(flat.shape, dtype)
    for start in range(0, flat.size, _BAND):
        band = np.clip(flat[start : start + _BAND], 0, 1)
        pixels[start : start + _BAND] = (srgb_encoded(band) if is_encoded else band) * peak + 0.5
    alpha = None
    if image.alpha is not None:
        alpha = (np.clip(image.alpha, 0, 1) * peak + 0.5).astype(dtype)
    clipped = "; values above 1 were clipped" if flat.max() > 1 else ""
    notes = (*(each for each in image.notes if each not in (LINEAR, _UNUSABLE)), f"{what}{clipped}")
    return replace(image, pixels=pixels.reshape(image.pixels.shape), alpha=alpha, icc=icc, notes=notes)


def _integer_coding(image: LoadedImage, bits: int) -> tuple[bool, bytes | None, str]:
    """Returns if integers get the curve of sRGB, the profile that describes them, and a note."""
    icc = image.icc
    became = f"its linear floating-point samples became sRGB of {bits} bit"
    if icc is None:
        return True, None, became
    is_light = is_linear_profile(icc)
    if is_light is None:
        return True, None, f"{became}, because its color profile cannot be used"
    curved = with_srgb_curve(icc) if is_light else None
    if curved is not None:
        return True, curved, f"{became} in the primaries of its color profile"
    return False, icc, f"its floating-point samples became {bits} bit, on the curve of its color profile"


def srgb_encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Applies the sRGB curve (IEC 61966-2-1) to values of at least 0."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
