"""Rows of a map that stay in the strips in which they were computed: to copy them into one tensor would cost
as much as to read them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..program.geometry import Region

__all__ = ["Span", "Strips", "appended", "remaining"]

Span = tuple[int, int]
"""The first row of a strip, and the row below its last."""


def appended(spans: list[Span], new: Span) -> list[Span]:
    """The strips that are held once another is there, which ends below all of them: those that it contains
    go.
    """
    return [*(span for span in spans if span[0] < new[0]), new]


def remaining(spans: list[Span], row: int) -> list[Span]:
    """The strips that are held once nothing above a row is needed.

    They go as a whole; but where most of what would stay is of no use, the topmost begins with that row. So
    what is held is at most twice what is needed, and next to nothing is copied of maps that wait for long.
    """
    if not spans or row >= spans[-1][1]:
        return []
    spans = spans[max((i for i, (top, _) in enumerate(spans) if top <= row), default=0) :]
    held, needed = sum(bottom - top for top, bottom in spans), spans[-1][1] - row
    if held > 2 * needed and row > spans[0][0]:
        end = min(spans[0][1], spans[1][0]) if len(spans) > 1 else spans[0][1]
        return [(row, end), *spans[1:]]
    return spans


class Strips:
    """Rows of a map from top to bottom, full width. A strip may begin with the last rows of the one before,
    so that a window finds all of its rows in one.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._strips: list[Tensor] = []  # (1, C, height, width)
        self._spare: Tensor | None = None

    def append(self, top: int, rows: Tensor) -> None:
        """Takes a strip that ends below all that are there."""
        self._spans = appended(self._spans, (top, top + rows.shape[2]))
        self._strips = [*self._strips[: len(self._spans) - 1], rows]

    def part(self, region: Region) -> Tensor:
        """A region, (1, C, height, width): of one strip as it is, of several as a copy."""
        pieces = self.pieces(region)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 2)

    def pieces(self, region: Region) -> list[Tensor]:
        """A region from top to bottom, in as many pieces as strips it lies in."""
        found = []
        start = region.top
        for index, (top, bottom) in enumerate(self._spans):
            if top <= region.top and region.bottom <= bottom:
                return [_rows(self._strips[index], region.top - top, region.bottom - top, region)]
            last = index + 1 == len(self._spans)
            stop = min(region.bottom, bottom if last else self._spans[index + 1][0])
            if start < stop:
                found.append(_rows(self._strips[index], start - top, stop - top, region))
                start = stop
        return found

    def edges(self, start: int, stop: int) -> list[int]:
        """The rows between these two with which strips begin."""
        return [top for top, _ in self._spans if start < top < stop]

    def drop_above(self, row: int) -> None:
        """Lets go of what is above a row (see `remaining`)."""
        spans = remaining(self._spans, row)
        dropped = len(self._spans) - len(spans)
        strips = self._strips[dropped:]
        if spans and spans[0] != self._spans[dropped]:
            top, bottom = (each - self._spans[dropped][0] for each in spans[0])
            strips[0] = self._saved(strips[0][..., top:bottom, :])
        elif dropped:
            self._spare = None  # this map's rows go as whole strips now
        self._spans, self._strips = spans, strips

    def _saved(self, rows: Tensor) -> Tensor:
        """A copy, because a part of a tensor would keep the memory of the whole; where the last one lay: new
        memory for every small copy would leave holes between the large tensors, into which the next ones do
        not fit.
        """
        place = self._spare
        reads_itself = place is not None and place.untyped_storage()._cdata == rows.untyped_storage()._cdata
        if place is None or place.shape != rows.shape or reads_itself:
            place = self._spare = torch.empty_like(rows, memory_format=torch.channels_last)
        return place.copy_(rows)


def _rows(strip: Tensor, start: int, stop: int, region: Region) -> Tensor:
    return strip[..., start:stop, region.left : region.right]
