"""Fixed interpolations inside networks, independent of a pixel's position in the image.

A subclass of `Enlargement` is one node of a network's graph: the planner runs it on any part of a feature map
and derives the px it needs from `factor`, `divisor` and `support`, so a new kind needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Bicubic", "Bilinear", "Enlargement", "SharperBicubic", "reach_of_enlarged"]


class Enlargement(nn.Module):
    """Separable interpolation by `factor / divisor`, with half-pixel centers.

    Every output px is a weighted sum of the input px around it. The weights depend only on its phase, so they
    are the same few numbers all over the image. (`F.interpolate` computes them from absolute coordinates,
    whose last bits differ with the position if the factor is no power of two.)

    Args:
        factor: output px per `divisor` input px.
        divisor: the sides of the input must be multiples of it. Above `factor` the kernel is stretched for
            antialiasing.

    Attributes:
        support: half-width of the kernel, in px of the coarser of the two grids.
        border: continuation of the image beyond its edges: "mirrored", the edge px included, or "repeated".
    """

    support: int
    kernel: Callable[[Tensor], Tensor]
    border: Literal["mirrored", "repeated"] = "mirrored"

    def __init__(self, factor: int, divisor: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.divisor = divisor
        stretch = max(1.0, divisor / factor)
        # Input px before and after a block of `divisor` px on which the block's outputs depend.
        self.margin = -(-(2 * self.support * max(factor, divisor) + factor - divisor) // (2 * factor)) - 1
        with torch.device("cpu"):  # even if the network is built on the meta device, without memory
            centers = (torch.arange(factor, dtype=torch.float64) + 0.5) * divisor / factor - 0.5
            taps = torch.arange(-self.margin, divisor + self.margin, dtype=torch.float64)
            weights = self.kernel((taps[None] - centers[:, None]) / stretch)  # (factor, taps)
        # Python floats: a buffer would lose its last digits when the network is cast to a narrow dtype.
        self.filters: list[list[float]] = (weights / weights.sum(1, keepdim=True)).tolist()

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, C, H*factor/divisor, W*factor/divisor)."""
        return self._along_rows(self._along_rows(x).transpose(2, 3)).transpose(2, 3)

    def _along_rows(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        continued = _mirrored if self.border == "mirrored" else _repeated
        padded = x.index_select(2, continued(h, self.margin, x.device)).reshape(
            b * c, 1, h + 2 * self.margin, w
        )
        filters = torch.tensor(self.filters, dtype=x.dtype, device=x.device)[:, None, :, None]
        phases = F.conv2d(padded, filters, stride=(self.divisor, 1))  # (B*C, factor, H/divisor, W)
        return phases.transpose(1, 2).reshape(b, c, h // self.divisor * self.factor, w)


class Bilinear(Enlargement):
    """Bilinear interpolation, `align_corners=False`."""

    support = 1

    @staticmethod
    def kernel(distance: Tensor) -> Tensor:
        """Returns the weights at these distances in px: a triangle."""
        return (1 - distance.abs()).clamp(min=0)


class Bicubic(Enlargement):
    """Keys' cubic convolution with a = -0.5: MATLAB's `imresize(x, factor / divisor)` in floating point."""

    support = 2
    a = -0.5

    @classmethod
    def kernel(cls, distance: Tensor) -> Tensor:
        """Returns the weights at these distances in px: a piecewise cubic, whose slope at 1 px is `a`."""
        d, a = distance.abs(), cls.a
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


class SharperBicubic(Bicubic):
    """Cubic convolution with a = -0.75: `F.interpolate(mode="bicubic")` of PyTorch, `cv2.INTER_CUBIC`."""

    a = -0.75
    border = "repeated"


def reach_of_enlarged(factor: int, px: int) -> int:
    """LR px to either side on which a bicubically upscaled LR px depends, with a halo of `px` upscaled px."""
    return Bicubic.support - 1 - (1 - 2 * px - factor) // (2 * factor)


def _repeated(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices that repeat the edge px of a feature map by `margin` px."""
    return torch.arange(-margin, length + margin, device=device).clamp(0, length - 1)


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices that mirror a feature map at its edges (edge px repeated) by `margin` px; length >= 1."""
    index = torch.arange(-margin, length + margin, device=device)
    index = torch.remainder(index, torch.full_like(index, 2 * length))  # a tensor operation, for exporters
    return torch.minimum(index, 2 * length - 1 - index)
