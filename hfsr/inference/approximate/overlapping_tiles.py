"""Overlapping tiles for networks that cannot be tiled exactly, such as attention over the whole image.

If every px depends on every other, no halo makes a tile exact. The memory of such a network grows with the
area of its input, the time with the square of the area: an image of a few windows runs whole, a larger one in
tiles of one window each. Neighbors overlap and are blended. The result is approximate; `Executor.tile`
reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfsr.errors import PlanError

from ..execution.executor import ExecutionStep
from ..image_io.sources_and_sinks import ImageSink, ImageSource
from ..program.geometry import Region, Size
from ..runtime.accelerator import empty_cache
from ..runtime.memory import is_out_of_memory, planned_memory
from ..runtime.precision import run_with_autocast
from .blend_weights import BlendWindow, blend_windows
from .profiler import NetworkProfiler

__all__ = ["OverlapExecutor", "OverlapPlan", "OverlappingTiles"]

_WHOLE_WINDOWS = 8
"""Images of at most this many windows run whole: exact, in a few times the time of tiles."""
_SMALLEST_TILE = 16


@dataclass(frozen=True)
class OverlapPlan:
    """Tile size of one image, with its memory and arithmetic.

    Attributes:
        tile: largest side of the region that one tile owns, in LR px; 0 for whole.
        part_bytes: peak memory of one tile.
        flops: floating-point operations of the whole run.
    """

    tile: int
    part_bytes: int
    flops: float
    live_bytes: int = 0

    @property
    def parts(self) -> str:
        """Description: "whole", or "overlapping tiles of 64 px, an approximation"."""
        return f"overlapping tiles of {self.tile} px, an approximation" if self.tile else "whole"

    @property
    def memory_bytes(self) -> int:
        """Peak memory on the device."""
        return self.part_bytes


class OverlappingTiles:
    """A network that runs whole or in overlapping tiles.

    Args:
        model: a restorer with an integer scale, in evaluation mode, on `device`.
        window: default side in LR px of a tile's input window.
        overlap: LR px shared by two neighboring windows.
        multiple: windows start at multiples of this, so that a grid inside the network keeps its phase.
        linear: True if the arithmetic grows with the area of a window, False for the square of the area.
        device: device of the network.
        dtype: float32, or the dtype of autocast.

    Attributes:
        profiler: memory and arithmetic of the network.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        window: int,
        overlap: int = 16,
        multiple: int = 1,
        linear: bool = False,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model = model
        self.scale = int(getattr(model, "scale", 1))
        self.window = window
        self.margin = overlap // 2
        self.multiple = multiple
        self.device = device
        self.dtype = dtype
        self.profiler = NetworkProfiler(model, multiple=multiple, linear=linear, device=device, dtype=dtype)

    def plan(self, size: Size, tile: int | None) -> OverlapPlan:
        """Plans one image.

        Args:
            size: size of the image.
            tile: largest side of the region that one tile owns, 0 for whole, None to choose.
        """
        chosen = self._choose(size, tile)
        rows, columns = self.windows(size, chosen)
        window = Size(max(row.length for row in rows), max(column.length for column in columns))
        count, area = len(rows) * len(columns), window.height * window.width
        return OverlapPlan(chosen, area * self.profiler.bytes_per_px, count * self.profiler.flops(window))

    def executor(self, size: Size, tile: int | None) -> OverlapExecutor:
        """Returns the executor for one image; `tile` as in `plan`."""
        return OverlapExecutor(self, self._choose(size, tile), may_shrink=tile is None)

    def windows(self, size: Size, tile: int) -> tuple[list[BlendWindow], list[BlendWindow]]:
        """Returns the windows along the rows and along the columns of an image; `tile` 0 for whole."""
        rows, columns = (
            blend_windows(
                side, tile or side, self.scale, self.device, margin=self.margin, multiple=self.multiple
            )
            for side in size
        )
        return rows, columns

    def restore(self, x: Tensor) -> Tensor:
        """Runs the network, (1, 3, h, w) to float32 (1, 3, H, W)."""
        return run_with_autocast(self.model, x, self.dtype)

    @property
    def default_tile(self) -> int:
        """Side of the region that a tile owns if it reads the default window."""
        return self.window - 2 * self.margin

    def _choose(self, size: Size, tile: int | None) -> int:
        """Returns the tile size to run with; 0 for whole."""
        if tile is not None:
            return 0 if tile >= max(size) else tile
        area = size.height * size.width
        if area <= self.window**2:
            return 0
        affordable = planned_memory(self.device) // 2 // self.profiler.bytes_per_px
        if area <= min(_WHOLE_WINDOWS * self.window**2, affordable):
            return 0
        chosen = self.default_tile
        while chosen >= 2 * _SMALLEST_TILE and (chosen + 2 * self.margin) ** 2 > affordable:
            chosen //= 2
        return chosen


class OverlapExecutor:
    """Runs one image in overlapping tiles.

    Args:
        network: the network to run.
        tile: largest side of the region that one tile owns; 0 for whole.
        may_shrink: True halves the tile if memory runs out and starts again; rows already written are kept.
    """

    def __init__(self, network: OverlappingTiles, tile: int, *, may_shrink: bool) -> None:
        self._network = network
        self._tile = tile
        self._may_shrink = may_shrink

    @property
    def tile(self) -> int | str:
        return f"windowed:{self._tile}" if self._tile else 0

    def run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        sink = _NewRowsSink(sink)
        while True:
            try:
                yield from self._run(source, sink)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            smaller = self._tile // 2 if self._tile else self._network.default_tile
            if not self._may_shrink or smaller < _SMALLEST_TILE:
                height, width = source.size
                what = f"a tile of {self._tile} px" if self._tile else f"{width}x{height} px whole"
                raise PlanError(f"not enough memory for {what}; use a smaller tile or free some")
            self._tile = smaller
            empty_cache(self._network.device)

    def _run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        rows, columns = self._network.windows(source.size, self._tile)
        scale, width = self._network.scale, source.size.width
        area = sum(row.length for row in rows) * sum(column.length for column in columns)
        total, done, seen = len(rows) * len(columns), 0, 0
        ends = [*(row.start for row in rows[1:]), source.size.height]
        overlap: Tensor | None = None
        for row, end in zip(rows, ends, strict=True):
            shape = (1, 3, row.length * scale, width * scale)
            band = torch.zeros(shape, device=self._network.device)
            for column in columns:
                self._add_tile(source, row, column, band)
                if column is columns[-1]:  # the band is complete down to the start of the next one
                    if overlap is not None:
                        band[..., : overlap.shape[2], :] += overlap
                    finished = (end - row.start) * scale
                    if finished:
                        region = Region(row.start * scale, end * scale, 0, width * scale)
                        sink.write(region, band[..., :finished, :])
                    overlap = band[..., finished:, :]
                done, seen = done + 1, seen + row.length * column.length
                yield ExecutionStep(done, total, seen / area)

    def _add_tile(self, source: ImageSource, row: BlendWindow, column: BlendWindow, band: Tensor) -> None:
        """Adds the weighted result of one window to a band of the result."""
        scale = self._network.scale
        part = self._network.restore(source.read(Region(row.start, row.stop, column.start, column.stop)))
        part = part * (row.weights[:, None] * column.weights)
        band[..., column.start * scale : column.stop * scale] += part


class _NewRowsSink:
    """Sink that drops rows that were already written, when an image is started again."""

    def __init__(self, sink: ImageSink) -> None:
        self._sink = sink
        self._written = 0

    def write(self, region: Region, part: Tensor) -> None:
        top = max(region.top, self._written)
        if top < region.bottom:
            self._sink.write(region._replace(top=top), part[..., top - region.top :, :])
            self._written = region.bottom
