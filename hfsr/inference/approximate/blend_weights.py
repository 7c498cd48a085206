"""Windows along one side of a picture, which overlap and fade into each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..program.geometry import Size, cut

__all__ = ["Span", "spans"]

_FADE = 5
"""Px on either side of a join over which one tile fades into the next. What a window sees beyond them is
thrown away: zeros beyond the edge show there most."""


class Span(NamedTuple):
    """A window along one side of the picture.

    Attributes:
        start, stop: what it sees, LR px.
        weights: its share in the result, (length * scale,); those of all windows add up to one.
    """

    start: int
    stop: int
    weights: Tensor


def spans(
    length: int,
    tile: int,
    scale: int,
    device: torch.device | None = None,
    *,
    margin: int = 8,
    multiple: int = 1,
) -> list[Span]:
    """Cuts a side into windows that own at most `tile` px each and fade into their neighbours.

    Args:
        length: of the side, LR px.
        tile: most px that a window owns.
        scale: of the network.
        device: for the weights.
        margin: px that a window sees to either side of what it owns.
        multiple: of which windows begin on; they see a little more for it.
    """
    edges = [(part.top, part.bottom) for part in cut(Size(length, 1), tile)]
    fade = min(_FADE, margin, min(stop - start for start, stop in edges) // 2)
    rising = (torch.arange(2 * fade * scale, device=device) + 0.5) / max(1, 2 * fade * scale)
    beyond = margin - min(_FADE, margin)
    result = []
    for start, stop in edges:
        first, end = max(0, start - fade - beyond), min(length, stop + fade + beyond)
        first -= first % multiple
        weights = torch.ones((end - first) * scale, device=device)
        if start > 0:
            join = (start - first) * scale
            weights[: join - len(rising) // 2] = 0
            weights[join - len(rising) // 2 : join + len(rising) // 2] = rising
        if stop < length:
            join = (stop - first) * scale
            weights[join - len(rising) // 2 : join + len(rising) // 2] = 1 - rising
            weights[join + len(rising) // 2 :] = 0
        result.append(Span(first, end, weights))
    return result
