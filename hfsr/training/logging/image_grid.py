"""Images for the trackers: LQ, SR and GT side by side, one row per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ImageGrid"]

Pixels = NDArray[np.uint8]

_SIDE = 320
"""Largest side of an image in px; larger images are cropped to their center."""
_GAP = 4
"""White px between images."""


class ImageGrid:
    """Collects a limited number of images.

    Args:
        rows: maximum number of rows.
    """

    def __init__(self, rows: int) -> None:
        self._left = rows
        self._rows: list[list[Pixels]] = []

    def add(self, lq: Pixels, sr: Pixels, gt: Pixels) -> None:
        """Adds a row, up to the maximum: RGB of shapes (h, w, 3), (H, W, 3) and (H, W, 3)."""
        if self._left < 1:
            return
        self._left -= 1
        height, width = gt.shape[:2]
        large = Image.fromarray(lq).resize((width, height), Image.Resampling.NEAREST)
        self._rows.append([_middle(image) for image in (np.asarray(large), sr, gt)])

    def image(self) -> Pixels | None:
        """Returns the rows one below another on white, or None if there are none."""
        if not self._rows:
            return None
        strips = [np.concatenate([_framed(image) for image in row], axis=1) for row in self._rows]
        width = max(strip.shape[1] for strip in strips)
        return np.concatenate(
            [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
        )


def _middle(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    top, left = max(0, height - _SIDE) // 2, max(0, width - _SIDE) // 2
    return image[top : top + _SIDE, left : left + _SIDE]


def _framed(image: Pixels) -> Pixels:
    return np.pad(image, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255)
