"""Helpers for luma networks: RGB goes in and out, the network processes the luma only.

The papers upscale Cb and Cr by bicubic interpolation and let the network predict Y. Color conversion is
linear, so the same image results from upscaling RGB by bicubic interpolation and adding to each channel the
difference between the network's luma and the upscaled luma. This keeps gray exactly gray.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["add_to_luma", "luma", "with_luma"]

_RED, _GREEN, _BLUE = 65.481 / 255, 128.553 / 255, 24.966 / 255
_BLACK = 16 / 255
_RANGE = _RED + _GREEN + _BLUE
"""Luma of white minus luma of black: 219 of 255."""


def luma(rgb: Tensor) -> Tensor:
    """Luma as in MATLAB's `rgb2ycbcr` (ITU-R BT.601), the one of benchmarks and papers.

    Args:
        rgb: RGB in [0, 1], (B, 3, H, W).

    Returns:
        Y in [16/255, 235/255], (B, 1, H, W).
    """
    return rgb[:, 0:1] * _RED + rgb[:, 1:2] * _GREEN + rgb[:, 2:3] * _BLUE + _BLACK


def add_to_luma(rgb: Tensor, difference: Tensor) -> Tensor:
    """Adds `difference`, (B, 1, H, W), to the luma of an image and keeps its chroma."""
    return rgb + difference * (1 / _RANGE)


def with_luma(rgb: Tensor, y: Tensor) -> Tensor:
    """Replaces the luma of an image by `y`, (B, 1, H, W), and keeps its chroma."""
    return add_to_luma(rgb, y - luma(rgb))
