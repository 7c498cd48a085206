"""Sharpening of ground-truth images, as Real-ESRGAN trains with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ._pixels import as_float

__all__ = ["SHARPENING_REACH", "sharpened"]

_RADIUS = 25  # px
_SIGMA = 0.3 * (_RADIUS - 1) + 0.8  # px: what OpenCV takes for a kernel of 51 px
_AMOUNT = 0.5
_THRESHOLD = 10 / 255
SHARPENING_REACH = 2 * _RADIUS
"""px beyond a px that its sharpened value depends on."""


def sharpened(pixels: NDArray) -> NDArray[np.float32]:
    """Unsharp masking where the image differs from its blurred self (the USMSharp of Real-ESRGAN).

    Args:
        pixels: uint8, uint16 or float in [0, 1], (H, W) or (H, W, C).

    Returns:
        Float in [0, 1], same shape. The image is mirrored at its borders.
    """
    values = as_float(pixels).astype(np.float32)
    residual = values - _blurred(values)
    mask = _blurred((np.abs(residual) > _THRESHOLD).astype(np.float32))
    strong = np.clip(values + _AMOUNT * residual, 0, 1).astype(np.float32)
    return values + mask * (strong - values)


def _blurred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian blur: one matrix product along each side, at this width faster than Fourier transforms."""
    height, width = values.shape[:2]
    rows = _matrix(height) @ values.reshape(height, -1)
    columns = rows.reshape(height, width, -1)
    return np.matmul(_matrix(width), columns).reshape(values.shape)


@lru_cache(maxsize=16)
def _matrix(length: int) -> NDArray[np.float32]:
    """Weights of the px of a line of this length, mirrored at its ends, in each of its blurred px."""
    taps = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-0.5 * (taps / _SIGMA) ** 2)
    weights /= weights.sum()
    period = max(2 * length - 2, 1)
    sources = (np.arange(length)[:, None] + taps) % period
    sources = np.where(sources < length, sources, period - sources)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], sources), weights)
    return matrix.astype(np.float32)
