"""Detection of NaN and infinity in a result, and completion of a result by a second run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ..program.geometry import Region, Size
from .sources_and_sinks import ImageSink

__all__ = ["FiniteSink", "NonFiniteError", "RemainingSink"]


class NonFiniteError(Exception):
    """A part of the result holds NaN or infinity."""


class FiniteSink:
    """Sink that passes on finite parts, and remembers their regions.

    Args:
        sink: receives the parts.
    """

    def __init__(self, sink: ImageSink) -> None:
        self._sink = sink
        self.written: list[Region] = []

    def write(self, region: Region, part: Tensor) -> None:
        """Passes on a part.

        Raises:
            NonFiniteError: the part is not finite; it is not passed on.
        """
        if not part.isfinite().all():
            raise NonFiniteError
        self._sink.write(region, part)
        self.written.append(region)


class RemainingSink:
    """Sink that passes on the px that an earlier run did not write, so that each px is written once.

    Args:
        sink: receives them.
        size: of the result.
        written: regions of the earlier run; both runs may divide the result differently.
    """

    def __init__(self, sink: ImageSink, size: Size, written: list[Region]) -> None:
        self._sink = sink
        self._is_missing = np.ones(size, bool)
        for region in written:
            self._is_missing[region.top : region.bottom, region.left : region.right] = False

    def write(self, region: Region, part: Tensor) -> None:
        missing = self._is_missing[region.top : region.bottom, region.left : region.right]
        if missing.all():
            self._sink.write(region, part)
            return
        for rows, columns in _rectangles(missing):
            inside = Region(
                region.top + rows.start,
                region.top + rows.stop,
                region.left + columns.start,
                region.left + columns.stop,
            )
            self._sink.write(inside, part[..., rows, columns])


def _rectangles(missing: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Divides the px that are True into rectangles: runs of equal rows, and in these runs of columns."""
    changes = np.flatnonzero((missing[1:] != missing[:-1]).any(axis=1)) + 1
    for top, bottom in zip([0, *changes], [*changes, len(missing)], strict=True):
        edges = np.flatnonzero(np.diff(missing[top].astype(np.int8), prepend=0, append=0))
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            yield slice(int(top), int(bottom)), slice(int(left), int(right))
