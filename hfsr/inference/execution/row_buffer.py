"""Row buffers: the held rows of a feature map, in the chunks in which they were computed.

Copying the chunks into one tensor would take as long as reading them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..program.geometry import Region

__all__ = ["RowBuffer", "RowSpan", "spans_after_append", "spans_after_drop"]

RowSpan = tuple[int, int]
"""First row of a chunk, and the row below its last."""


def spans_after_append(spans: list[RowSpan], new: RowSpan) -> list[RowSpan]:
    """Returns the chunks held after `new`, the lowest one, is appended: chunks inside it are dropped."""
    return [*(span for span in spans if span[0] < new[0]), new]


def spans_after_drop(spans: list[RowSpan], row: int) -> list[RowSpan]:
    """Returns the chunks held after the rows above `row` are dropped.

    Chunks are dropped as a whole. If most of the remaining rows are not needed, the topmost chunk is cut at
    `row`. So at most twice the needed rows are held, and long-lived feature maps are hardly ever copied.
    """
    if not spans or row >= spans[-1][1]:
        return []
    spans = spans[max((i for i, (top, _) in enumerate(spans) if top <= row), default=0) :]
    held, needed = sum(bottom - top for top, bottom in spans), spans[-1][1] - row
    if held > 2 * needed and row > spans[0][0]:
        end = min(spans[0][1], spans[1][0]) if len(spans) > 1 else spans[0][1]
        return [(row, end), *spans[1:]]
    return spans


class RowBuffer:
    """Rows of a feature map from top to bottom, full width, as a list of chunks.

    A chunk may repeat the last rows of the previous one, so that a window finds its rows in one chunk.
    """

    def __init__(self) -> None:
        self._spans: list[RowSpan] = []
        self._chunks: list[Tensor] = []  # (1, C, height, width)
        self._spare: Tensor | None = None

    def append(self, top: int, rows: Tensor) -> None:
        """Appends a chunk that ends below all others."""
        self._spans = spans_after_append(self._spans, (top, top + rows.shape[2]))
        self._chunks = [*self._chunks[: len(self._spans) - 1], rows]

    def read(self, region: Region) -> Tensor:
        """Returns a region, (1, C, height, width): a view of one chunk, or a copy of several."""
        chunks = self.chunks(region)
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks, 2)

    def chunks(self, region: Region) -> list[Tensor]:
        """Returns a region from top to bottom, as a view of each chunk that it lies in."""
        found = []
        start = region.top
        for index, (top, bottom) in enumerate(self._spans):
            if top <= region.top and region.bottom <= bottom:
                return [_rows(self._chunks[index], region.top - top, region.bottom - top, region)]
            last = index + 1 == len(self._spans)
            stop = min(region.bottom, bottom if last else self._spans[index + 1][0])
            if start < stop:
                found.append(_rows(self._chunks[index], start - top, stop - top, region))
                start = stop
        return found

    def edges(self, start: int, stop: int) -> list[int]:
        """Returns the rows between these two at which a chunk starts."""
        return [top for top, _ in self._spans if start < top < stop]

    def drop_above(self, row: int) -> None:
        """Drops the rows above a row (see `spans_after_drop`)."""
        spans = spans_after_drop(self._spans, row)
        dropped = len(self._spans) - len(spans)
        chunks = self._chunks[dropped:]
        if spans and spans[0] != self._spans[dropped]:
            top, bottom = (each - self._spans[dropped][0] for each in spans[0])
            chunks[0] = self._copy(chunks[0][..., top:bottom, :])
        elif dropped:
            self._spare = None  # from now on, rows of this feature map are dropped as whole chunks
        self._spans, self._chunks = spans, chunks

    def _copy(self, rows: Tensor) -> Tensor:
        """Copies rows, because a view would keep the memory of the whole chunk.

        The memory of the last copy is reused: new memory for every small copy would fragment the heap.
        """
        copy = self._spare
        overlaps = copy is not None and copy.untyped_storage()._cdata == rows.untyped_storage()._cdata
        if copy is None or copy.shape != rows.shape or overlaps:
            copy = self._spare = torch.empty_like(rows, memory_format=torch.channels_last)
        return copy.copy_(rows)


def _rows(chunk: Tensor, start: int, stop: int, region: Region) -> Tensor:
    return chunk[..., start:stop, region.left : region.right]
