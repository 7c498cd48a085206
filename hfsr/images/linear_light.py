"""Images of floating-point samples, which are linear light: the sRGB curve, and conversion to integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.loaded_image import LoadedImage

__all__ = ["LINEAR", "as_integers", "check_floats", "is_linear", "srgb_encoded"]

LINEAR = "its floating-point samples were interpreted as linear light"
_BAND = 1 << 20  # values converted at once


def is_linear(image: LoadedImage) -> bool:
    """Returns True for an image of floats."""
    return image.pixels.dtype == np.float32


def check_floats(samples: NDArray[np.float32]) -> list[str]:
    """Checks samples of a file; returns a note if some are negative.

    Raises:
        ImageError: samples are NaN or infinite.
    """
    low, high = float(samples.min()), float(samples.max())  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("its floating-point samples hold NaN or infinite values; replace them first")
    return ["its negative samples were set to 0"] if low < 0 else []


def as_integers(image: LoadedImage, bits: int = 16) -> LoadedImage:
    """Converts linear light to integers with the sRGB curve; values above 1 are clipped, with a note.

    Args:
        image: image of floats; others are returned unchanged.
        bits: 8 or 16.
    """
    if not is_linear(image):
        return image
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    peak = float(np.iinfo(dtype).max)
    flat = image.pixels.reshape(-1)
    pixels = np.empty(flat.shape, dtype)
    for start in range(0, flat.size, _BAND):
        band = slice(start, start + _BAND)
        pixels[band] = srgb_encoded(np.clip(flat[band], 0, 1)) * peak + 0.5
    alpha = None
    if image.alpha is not None:
        alpha = (np.clip(image.alpha, 0, 1) * peak + 0.5).astype(dtype)
    clipped = "; values above 1 were clipped" if flat.max() > 1 else ""
    note = f"its linear floating-point samples became sRGB of {bits} bit{clipped}"
    notes = (*(each for each in image.notes if each != LINEAR), note)
    return replace(image, pixels=pixels.reshape(image.pixels.shape), alpha=alpha, notes=notes)


def srgb_encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Applies the sRGB curve (IEC 61966-2-1) to values of at least 0."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
