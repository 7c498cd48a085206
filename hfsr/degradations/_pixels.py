"""What the operations on integer pixels share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

__all__ = ["check", "to_integers"]


def check(image: NDArray, scale: float) -> None:
    """Raises ImageError for pixels that are not uint8 or uint16, for none at all, and a scale below 1."""
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3):
        raise ImageError(
            f"got {image.dtype} of shape {image.shape}; need uint8 or uint16 of shape (H, W) or (H, W, C)"
        )
    if image.size == 0:
        raise ImageError(f"the picture has no pixels (shape {image.shape})")
    if not 1 <= scale < math.inf:
        raise ImageError(f"scale {scale:g} is not possible; need a number from 1 on")


def to_integers(values: NDArray, dtype: np.dtype) -> NDArray:
    """Rounds half up, in place, as MATLAB does to what the clamp leaves, and clamps to `dtype`."""
    values += 0.5
    np.floor(values, out=values)
    np.clip(values, 0, np.iinfo(dtype).max, out=values)
    return values.astype(dtype)
