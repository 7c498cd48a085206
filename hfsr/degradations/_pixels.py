"""Pixel conversions shared by the operations: integers, or float32 in [0, 1] between unrounded steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

__all__ = ["as_float", "as_uint8", "check", "like", "to_integers"]


def check(image: NDArray, scale: float) -> None:
    """Raises ImageError if pixels are not uint8 or uint16, the image is empty, or the scale is below 1."""
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3):
        raise ImageError(
            f"got {image.dtype} of shape {image.shape}; need uint8 or uint16 of shape (H, W) or (H, W, C)"
        )
    if image.size == 0:
        raise ImageError(f"the image has no pixels (shape {image.shape})")
    if not 1 <= scale < math.inf:
        raise ImageError(f"scale {scale:g} is not possible; need a number from 1 on")


def to_integers(values: NDArray, dtype: np.dtype) -> NDArray:
    """Rounds half up, in place, as MATLAB does, and clamps to `dtype`."""
    values += 0.5
    np.floor(values, out=values)
    np.clip(values, 0, np.iinfo(dtype).max, out=values)
    return values.astype(dtype)


def as_float(pixels: NDArray) -> NDArray[np.float64]:
    """Converts uint8, uint16 or float to float64 in [0, 1]."""
    return pixels / np.float64(np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)


def as_uint8(pixels: NDArray) -> NDArray[np.uint8]:
    """Converts uint16, or float in [0, 1], to uint8 by clamping and rounding; returns uint8 unchanged."""
    return pixels if pixels.dtype == np.uint8 else to_integers(as_float(pixels) * 255, np.dtype(np.uint8))


def like(values: NDArray[np.float64], pixels: NDArray) -> NDArray:
    """Converts float64 in [0, 1] to the integer type of `pixels`, or to float32 if `pixels` are float."""
    if pixels.dtype.kind != "u":
        return values.astype(np.float32)
    return to_integers(values * np.iinfo(pixels.dtype).max, pixels.dtype)
