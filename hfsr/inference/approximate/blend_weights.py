"""Blend weights of overlapping tiles, along one side of the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..program.geometry import Size, tile_grid

__all__ = ["BlendWindow", "blend_windows"]

_FADE = 5
"""Px on either side of a seam over which one tile fades into the next. Px of a tile beyond them are
discarded, because the zero padding at its edge affects them most."""


class BlendWindow(NamedTuple):
    """A tile's input window along one side of the image.

    Attributes:
        start, stop: the window, LR px.
        weights: its share of the result, (length * scale,); those of all windows add up to one.
    """

    start: int
    stop: int
    weights: Tensor

    @property
    def length(self) -> int:
        """Px of the window."""
        return self.stop - self.start


def blend_windows(
    length: int,
    tile: int,
    scale: int,
    device: torch.device | None = None,
    *,
    margin: int = 8,
    multiple: int = 1,
) -> list[BlendWindow]:
    """Divides a side into windows that own at most `tile` px each and fade into their neighbors.

    Args:
        length: length of the side, LR px.
        tile: maximum px that a window owns.
        scale: scale of the network.
        device: device of the weights.
        margin: px that a window reads on either side of the px that it owns.
        multiple: windows start at multiples of this, and read a few px more for it.
    """
    edges = [(part.top, part.bottom) for part in tile_grid(Size(length, 1), tile)]
    fade = min(_FADE, margin, min(stop - start for start, stop in edges) // 2)
    rising = (torch.arange(2 * fade * scale, device=device) + 0.5) / max(1, 2 * fade * scale)
    beyond = margin - min(_FADE, margin)
    windows = []
    for start, stop in edges:
        first, end = max(0, start - fade - beyond), min(length, stop + fade + beyond)
        first -= first % multiple
        weights = torch.ones((end - first) * scale, device=device)
        if start > 0:
            seam = (start - first) * scale
            weights[: seam - len(rising) // 2] = 0
            weights[seam - len(rising) // 2 : seam + len(rising) // 2] = rising
        if stop < length:
            seam = (stop - first) * scale
            weights[seam - len(rising) // 2 : seam + len(rising) // 2] = 1 - rising
            weights[seam + len(rising) // 2 :] = 0
        windows.append(BlendWindow(first, end, weights))
    return windows
