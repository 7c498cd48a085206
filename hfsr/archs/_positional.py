"""Enlargement by a real number, where what makes an output px depends on its place in the whole image.

Output px i lies over input px floor(i / scale). The planner runs a `PositionalEnlargement` on any part of a
map, which knows its absolute place, so that every piece is that part of the whole-image result.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PositionalEnlargement", "enlarged_length", "source_of"]

EPSILON = 1e-6
"""Absorbs the rounding of scales that have no exact binary form: 10 px enlarged by 1.1 are 11."""


def enlarged_length(length: int, scale: float) -> int:
    """Output px that a side of `length` px has at a real scale."""
    return math.floor(length * scale + EPSILON)


def source_of(position: int, scale: float) -> int:
    """The input px over which output px `position` lies."""
    return math.floor(position / scale + EPSILON)


class PositionalEnlargement(nn.Module):
    """Enlarges by a real scale from `margin` px to either side of the px below; zeros lie beyond the border.

    Attributes:
        scale: output px per input px.
        margin: input px to either side.
        in_channels, out_channels: channels of the map before and after.
    """

    scale: float
    margin: int
    in_channels: int
    out_channels: int

    def part(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int], scale: float) -> Tensor:
        """Computes the output px [rows) x [columns) of the whole map.

        Args:
            x: the input px that they see: from `margin` before the first source to `margin` after the last,
                zeros where that is beyond the border; (B, C, h, w).
            rows, columns: first and one past the last output px, counted over the whole map.
            scale: output px per input px.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        """Args: x: (B, C, H, W); scale: another than its own. Returns: (B, ?, floor(H*scale), ...)."""
        scale = self.scale if scale is None else scale
        height, width = x.shape[-2:]
        padded = F.pad(x, (self.margin,) * 4)
        return self.part(
            padded, (0, enlarged_length(height, scale)), (0, enlarged_length(width, scale)), scale
        )
