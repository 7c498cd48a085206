"""What the networks of luma share: RGB goes in and out, the network itself sees only brightness.

The papers enlarge Cb and Cr by bicubic interpolation and let the network make Y. Colors and luma are linear,
so the same image comes from enlarging RGB by bicubic interpolation and adding to its three channels what
the network's luma differs from the enlarged one: that keeps gray exactly gray.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["add_to_luma", "luma", "with_luma"]

_RED, _GREEN, _BLUE = 65.481 / 255, 128.553 / 255, 24.966 / 255
_BLACK = 16 / 255
_RANGE = _RED + _GREEN + _BLUE
"""Luma of white less that of black: 219 of 255."""


def luma(rgb: Tensor) -> Tensor:
    """Luma as MATLAB's `rgb2ycbcr` makes it (ITU-R BT.601), in which benchmarks measure and papers trained.

    Args:
        rgb: RGB in [0, 1], (B, 3, H, W).

    Returns:
        Y in [16/255, 235/255], (B, 1, H, W).
    """
    return rgb[:, 0:1] * _RED + rgb[:, 1:2] * _GREEN + rgb[:, 2:3] * _BLUE + _BLACK


def add_to_luma(rgb: Tensor, difference: Tensor) -> Tensor:
    """Changes the luma of an image by `difference`, (B, 1, H, W), and leaves its chroma as it is."""
    return rgb + difference * (1 / _RANGE)


def with_luma(rgb: Tensor, y: Tensor) -> Tensor:
    """The chroma of an image, with the luma `y`, (B, 1, H, W)."""
    return add_to_luma(rgb, y - luma(rgb))
