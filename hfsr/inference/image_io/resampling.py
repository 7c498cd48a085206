"""Antialiased reduction of a result to an exact size, in float, while it is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hfsr.degradations import cubic_taps

from ..program.geometry import Region, Size
from .sources_and_sinks import ImageSink

__all__ = ["ResamplingSink"]

_BAND = 1 << 19
"""Px of a part that are resampled at once."""


class ResamplingSink:
    """Image sink that resamples a result to another size and passes on its rows from top to bottom.

    Bicubic (Keys, a = -1/2), with the kernel widened by the reduction, as MATLAB's `imresize`: the upper left
    corners of both sizes coincide. Each part adds its share to the rows that it reaches, in float32 on its
    device; rows go on as soon as nothing can be added to them.

    Args:
        sink: receives bands of whole rows.
        source: size of the result that is written to this sink.
        target: size of what `sink` receives.
        factors: px of the target per px of the source, down and across; None: those of the two sizes. For a
            target that was rounded to whole px: it would be stretched by a part of a px without them.
    """

    def __init__(
        self, sink: ImageSink, source: Size, target: Size, factors: tuple[float, float] | None = None
    ) -> None:
        down, across = factors or (target.height / source.height, target.width / source.width)
        self._sink = sink
        self._source = source
        self._target = target
        self._rows = _Taps.between(source.height, target.height, down)
        self._columns = _Taps.between(source.width, target.width, across)
        self._row_ends = self._rows.ends()
        self._filled = np.zeros(source.height, np.int64)  # px that have arrived of each row
        self._complete = 0  # rows of the source from the top
        self._top = 0  # rows of the target that have been passed on
        self._sums: Tensor | None = None  # from row `_top` on

    def write(self, region: Region, part: Tensor) -> None:
        rows = max(1, _BAND // region.width)
        for top in range(region.top, region.bottom, rows):
            bottom = min(top + rows, region.bottom)
            band = part[..., top - region.top : bottom - region.top, :]
            self._add(Region(top, bottom, region.left, region.right), band.float())

    @property
    def held_rows(self) -> int:
        """Rows of the target that wait for more parts."""
        return 0 if self._sums is None else self._sums.shape[-2]

    def _add(self, region: Region, part: Tensor) -> None:
        columns = self._columns.within(region.left, region.right, part.device)
        rows = self._rows.within(region.top, region.bottom, part.device)
        if columns.count and rows.count:
            narrow = columns.apply(part, dim=-1)
            at = slice(rows.first - self._top, rows.first - self._top + rows.count)
            sums = self._held(at.stop, part)
            sums[..., at, columns.first : columns.first + columns.count] += rows.apply(narrow, dim=-2)
        self._filled[region.top : region.bottom] += region.width
        self._pass_on()

    def _held(self, count: int, like: Tensor) -> Tensor:
        """The sums, extended to at least `count` rows."""
        if (missing := count - self.held_rows) > 0:
            more = like.new_zeros((*like.shape[:-2], missing, self._target.width))
            self._sums = more if self._sums is None else torch.cat([self._sums, more], dim=-2)
        assert self._sums is not None
        return self._sums

    def _pass_on(self) -> None:
        """Passes on the rows whose whole support has arrived."""
        height = self._source.height
        while self._complete < height and self._filled[self._complete] == self._source.width:
            self._complete += 1
        bottom = int(np.searchsorted(self._row_ends, self._complete, side="right"))
        count = bottom - self._top
        if count > 0 and self._sums is not None:
            done = self._sums[..., :count, :]
            rest = self._sums[..., count:, :]
            self._sums = rest.clone() if rest.shape[-2] else None
            self._sink.write(Region(self._top, bottom, 0, self._target.width), done)
            self._top = bottom


@dataclass(frozen=True)
class _Taps:
    """The px that each px of a line is a weighted sum of.

    Attributes:
        indices, weights: (N, taps).
    """

    indices: np.ndarray
    weights: np.ndarray

    @classmethod
    def between(cls, size: int, length: int, factor: float) -> _Taps:
        """Taps of resampling `size` px to `length` px, `factor` px for each."""
        centers = (np.arange(length) + 0.5) / factor - 0.5
        return cls(*cubic_taps(centers, size, min(factor, 1.0)))

    def ends(self) -> np.ndarray:
        """One past the last px that each px needs or that one before it needs."""
        return np.maximum.accumulate(self.indices.max(axis=1)) + 1

    def within(self, start: int, stop: int, device: torch.device) -> _Share:
        """The share of the px from `start` to `stop`."""
        is_inside = (self.indices >= start) & (self.indices < stop) & (self.weights != 0)
        touched = np.flatnonzero(is_inside.any(axis=1))
        first, last = (int(touched[0]), int(touched[-1])) if len(touched) else (0, -1)
        lines = slice(first, last + 1)
        weights = np.where(is_inside[lines], self.weights[lines], 0).astype(np.float32)
        indices = np.clip(self.indices[lines] - start, 0, stop - start - 1)
        used = weights.any(axis=0)
        return _Share(
            first,
            torch.from_numpy(np.ascontiguousarray(indices[:, used].T)).to(device),
            torch.from_numpy(np.ascontiguousarray(weights[:, used].T)).to(device),
        )


@dataclass(frozen=True)
class _Share:
    """Contribution of a range of px to the px that it reaches.

    Attributes:
        first: of these px.
        indices, weights: (taps, count); indices from the start of the range.
    """

    first: int
    indices: Tensor
    weights: Tensor

    @property
    def count(self) -> int:
        return self.indices.shape[1]

    def apply(self, part: Tensor, *, dim: int) -> Tensor:
        """Weighted sums along a dimension, -1 or -2, of (1, 3, height, width)."""
        weights = self.weights if dim == -1 else self.weights[..., None]
        total = part.index_select(dim, self.indices[0]).mul_(weights[0])
        for index, weight in zip(self.indices[1:], weights[1:], strict=True):
            total.addcmul_(part.index_select(dim, index), weight)
        return total
