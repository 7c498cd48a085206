"""Detection of an earlier JPEG compression by the edges of its 8x8 blocks, for images in lossless files."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_jpeg_grid", "jpeg_grid_score"]

THRESHOLD = 6.0
"""Score from which an image counts as compressed; rates in tests/benchmarks/results/jpeg_grid.txt."""

_SIDE = 1024  # px: a region of this size in the center suffices, and takes milliseconds
_STEP = 16.0  # gray levels: larger steps between px are edges of the image
_MIN = 64  # px: smaller images have too few blocks


def has_jpeg_grid(pixels: NDArray) -> bool:
    """Returns True if the steps across the edges of 8x8 blocks stand out, at any offset of the blocks."""
    return jpeg_grid_score(pixels) >= THRESHOLD


def jpeg_grid_score(pixels: NDArray) -> float:
    """Returns the excess of steps at block edges, in standard errors; the minimum of both directions.

    Args:
        pixels: RGB (H, W, 3) or gray (H, W), integers.

    Returns:
        The score; 0 for images that are too small.
    """
    top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
    region = pixels[top : top + _SIDE, left : left + _SIDE].astype(np.float32)
    if min(region.shape[:2]) < _MIN:
        return 0.0
    region *= 255 / np.iinfo(pixels.dtype).max
    luma = region if region.ndim == 2 else region.mean(axis=2)
    return min(_score(luma), _score(luma.T))


def _score(luma: NDArray[np.float32]) -> float:
    steps = np.minimum(np.abs(np.diff(luma, axis=1)), _STEP)
    excess = (steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2).mean(axis=0)
    columns = excess[: excess.size // 8 * 8].reshape(-1, 8)
    edge = int(columns.mean(axis=0).argmax())
    others = np.delete(columns, edge, axis=1)
    error = math.sqrt(columns[:, edge].var() / len(columns) + others.var() / others.size) + 1e-3
    return float((columns[:, edge].mean() - others.mean()) / error)
