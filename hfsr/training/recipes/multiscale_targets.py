"""Ground truth at smaller scales, for losses at several scales."""

from __future__ import annotations

from functools import cache
from math import gcd

from torch import Tensor

from hfsr.archs import Bicubic

__all__ = ["at_scales", "eight_bit"]


def at_scales(gt: Tensor, scales: list[int], of: int) -> list[Tensor]:
    """Reduces the ground truth by MATLAB's bicubic, to 8 bit like image files.

    Args:
        gt: RGB in [0, 1], (B, 3, H, W), sides multiples of `of`.
        scales: the requested scales, at most `of`.
        of: the scale of `gt`.

    Returns:
        One image for each scale s, (B, 3, H * s / of, W * s / of); `gt` itself for `of`.
    """
    return [gt if scale == of else eight_bit(_reduction(scale, of)(gt)) for scale in scales]


@cache
def _reduction(scale: int, of: int) -> Bicubic:
    common = gcd(scale, of)
    return Bicubic(scale // common, of // common)


def eight_bit(x: Tensor) -> Tensor:
    """Rounds images in [0, 1] to the values of 8-bit files."""
    return (x.clamp(0, 1) * 255).round() / 255
