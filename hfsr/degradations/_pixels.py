"""What the operations on pixels share: integers, or float32 in [0, 1] between steps that do not round."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

__all__ = ["as_float", "as_uint8", "check", "like", "to_integers"]


def check(image: NDArray, scale: float) -> None:
    """Raises ImageError for pixels that are not uint8 or uint16, for none at all, and a scale below 1."""
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3):
        raise ImageError(
            f"got {image.dtype} of shape {image.shape}; need uint8 or uint16 of shape (H, W) or (H, W, C)"
        )
    if image.size == 0:
        raise ImageError(f"the image has no pixels (shape {image.shape})")
    if not 1 <= scale < math.inf:
        raise ImageError(f"scale {scale:g} is not possible; need a number from 1 on")


def to_integers(values: NDArray, dtype: np.dtype) -> NDArray:
    """Rounds half up, in place, as MATLAB does to what the clamp leaves, and clamps to `dtype`."""
    values += 0.5
    np.floor(values, out=values)
    np.clip(values, 0, np.iinfo(dtype).max, out=values)
    return values.astype(dtype)


def as_float(pixels: NDArray) -> NDArray[np.float64]:
    """uint8, uint16 or float to float64 in [0, 1]."""
    return pixels / np.float64(np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)


def as_uint8(pixels: NDArray) -> NDArray[np.uint8]:
    """uint16, or float in [0, 1], clamped and rounded; uint8 is given back as it is."""
    return pixels if pixels.dtype == np.uint8 else to_integers(as_float(pixels) * 255, np.dtype(np.uint8))


def like(values: NDArray[np.float64], pixels: NDArray) -> NDArray:
    """Float64 in [0, 1], rounded to the integers that `pixels` are of, or as float32 where they are float."""
    if pixels.dtype.kind != "u":
        return values.astype(np.float32)
    return to_integers(values * np.iinfo(pixels.dtype).max, pixels.dtype)
