"""Upsampling by a real number, where an output px depends on its absolute position in the image.

Output px i lies over input px floor(i / scale). The planner runs a `PositionalEnlargement` on any part of a
feature map with its absolute position, so every tile equals that part of the whole-image result.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PositionalEnlargement", "enlarged_length", "source_of"]

EPSILON = 1e-6
"""Absorbs the rounding of scales without an exact binary form: 10 px upscaled by 1.1 are 11."""


def enlarged_length(length: int, scale: float) -> int:
    """Returns the length in output px of a side of `length` px at a real scale."""
    return math.floor(length * scale + EPSILON)


def source_of(position: int, scale: float) -> int:
    """Returns the input px over which output px `position` lies."""
    return math.floor(position / scale + EPSILON)


class PositionalEnlargement(nn.Module):
    """Upsamples by a real scale from `margin` px on each side of the source px; zeros pad the border.

    Attributes:
        scale: output px per input px.
        margin: input px to either side.
        in_channels, out_channels: channels of the feature map before and after.
    """

    scale: float
    margin: int
    in_channels: int
    out_channels: int

    def part(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int], scale: float) -> Tensor:
        """Computes the output px [rows) x [columns) of the whole feature map.

        Args:
            x: the input px that these depend on: from `margin` before the first source to `margin` after the
                last, zeros beyond the border; (B, C, h, w).
            rows: first and one past the last output row, counted over the whole feature map.
            columns: first and one past the last output column, counted likewise.
            scale: output px per input px.
        """
        raise NotImplementedError

    def workspace_bytes(self, rows: int, columns: int) -> int:
        """Returns the bytes that `part` holds besides its input and output.

        Args:
            rows: output rows of the part.
            columns: output columns of the part.
        """
        return 0

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        """Args: x: (B, C, H, W); scale: overrides `self.scale`. Returns: (B, ?, floor(H*scale), ...)."""
        scale = self.scale if scale is None else scale
        height, width = x.shape[-2:]
        padded = F.pad(x, (self.margin,) * 4)
        return self.part(
            padded, (0, enlarged_length(height, scale)), (0, enlarged_length(width, scale)), scale
        )
