"""Conversion between sRGB and CIE Lab (white point D65), which separates lightness from color."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lab_to_rgb", "rgb_to_lab"]

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(1)
_EDGE = 6 / 29


def rgb_to_lab(rgb: NDArray) -> NDArray[np.float64]:
    """Converts sRGB in [0, 1], (..., 3), to L in [0, 100], a and b."""
    rgb = np.asarray(rgb, np.float64)
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    t = linear @ _TO_XYZ.T / _WHITE
    f = np.where(t > _EDGE**3, np.cbrt(t), t / (3 * _EDGE**2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def lab_to_rgb(lab: NDArray) -> NDArray[np.float64]:
    """Converts Lab to sRGB; colors outside the sRGB gamut are clamped to [0, 1]."""
    middle = (lab[..., 0] + 16) / 116
    f = np.stack([middle + lab[..., 1] / 500, middle, middle - lab[..., 2] / 200], -1)
    t = np.where(f > _EDGE, f**3, 3 * _EDGE**2 * (f - 4 / 29))
    linear = np.clip((t * _WHITE) @ np.linalg.inv(_TO_XYZ).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
