"""A whole map that stays in the strips of rows in which it was computed: what makes them is told no place to
put them, and copying them into one would cost as much as reading them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .regions import Region

__all__ = ["Strips"]


class Strips:
    """Rows of a map from top to bottom, full width."""

    def __init__(self) -> None:
        self._strips: list[tuple[int, Tensor]] = []  # first row, (1, C, height, width)

    def append(self, top: int, rows: Tensor) -> None:
        """Takes the rows below all that are there."""
        self._strips.append((top, rows))

    def part(self, region: Region) -> Tensor:
        """A region, (1, C, height, width): of one strip as it is, of several as a copy."""
        found = []
        for top, rows in self._strips:
            start, stop = max(region.top, top), min(region.bottom, top + rows.shape[2])
            if start < stop:
                found.append(rows[..., start - top : stop - top, region.left : region.right])
        return found[0] if len(found) == 1 else torch.cat(found, 2)

    def edges(self, start: int, stop: int) -> list[int]:
        """The rows between these two with which strips begin."""
        return [top for top, _ in self._strips if start < top < stop]

    def drop_above(self, row: int) -> None:
        """Lets go of the strips that end above a row, or with it."""
        self._strips = [(top, rows) for top, rows in self._strips if top + rows.shape[2] > row]
