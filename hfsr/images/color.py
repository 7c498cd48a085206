"""Luma as in MATLAB's `rgb2ycbcr` (ITU-R BT.601, 16..235), not rounded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rgb_to_y"]

_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255


def rgb_to_y(image: NDArray) -> NDArray[np.float64]:
    """Returns the luma of an RGB image.

    Args:
        image: RGB in [0, 255], any dtype, shape (..., 3).

    Returns:
        float64 in [16, 235], shape (...).
    """
    return np.asarray(image, np.float64) @ _WEIGHTS + 16.0
