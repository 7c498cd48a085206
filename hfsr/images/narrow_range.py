"""Samples of narrow range, as in video: black is 16 and white 235 of 255 (ITU-T H.273)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["to_full_range"]

_BLACK, _WHITE = 16, 235
_MAX_OUTSIDE = 0.05
"""Share of the samples outside of the range that video may have: ringing of filters, highlights."""


def to_full_range(pixels: NDArray, alpha: NDArray | None = None) -> tuple[NDArray, str]:
    """Stretches samples to the full range, unless too many of them are outside of the narrow one.

    Args:
        pixels: uint8 or uint16, RGB (H, W, 3) or gray (H, W), stated to have narrow range.
        alpha: opacity (H, W); transparent px do not count as outside.

    Returns:
        Pixels of the same type and shape, and a note.
    """
    peak, step = int(np.iinfo(pixels.dtype).max), 1 << (8 * (pixels.dtype.itemsize - 1))
    black, white = _BLACK * step, _WHITE * step
    visible = pixels if alpha is None else pixels[alpha > 0]
    outside = float(np.mean((visible < black) | (visible > white))) if visible.size else 0.0
    if outside > _MAX_OUTSIDE:
        return pixels, f"the narrow range of its cICP was ignored: {outside:.0%} of its samples exceed it"
    levels = np.clip((np.arange(peak + 1) - black) / (white - black), 0, 1) * peak + 0.5
    clipped = f"; {outside:.1%} of them were clipped" if outside else ""
    return levels.astype(pixels.dtype)[pixels], f"its samples of narrow range became full range{clipped}"
