"""Overlapping tiles for networks that cannot be tiled exactly, such as attention over the whole image.

If every px depends on every other, no halo makes a tile exact. Memory grows with the area that such a network
sees, time with the square of the area: an image of a few windows runs whole, a larger one in tiles that each
see one window. Neighbors overlap and are blended. The result is approximate; `TileStep.tile` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hfsr.errors import PlanError

from ..execution.feature_store import Read, Write
from ..program.geometry import Region, Size
from ..runtime.memory import free_memory, is_out_of_memory
from .blend_weights import BlendWindow, blend_windows
from .profiler import NetworkProfiler

__all__ = ["OverlapPlan", "OverlappingTiles", "TileStep"]

_WHOLE_WINDOWS = 8
"""Images of at most this many windows run whole: exact, in a few times the time of tiles."""
_SMALLEST_TILE = 16


class TileStep(NamedTuple):
    """Progress after a tile.

    Attributes:
        tile: largest side of what one tile owns, LR px; 0 for whole.
        done, total: tiles finished and tiles in all.
        share: share of the work that is done, in (0, 1].
    """

    tile: int
    done: int
    total: int
    share: float


@dataclass(frozen=True)
class OverlapPlan:
    """Tile size of one image, with its memory and arithmetic.

    Attributes:
        tile: largest side of what one tile owns, in LR px; 0 for whole.
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


class OverlappingTiles:
    """Runs a network on images of any size, whole or in overlapping tiles.

    Args:
        model: a restorer with an integer scale, in evaluation mode, on `device`.
        window: side in LR px of the window that a tile sees by default.
        overlap: LR px shared by two neighboring windows.
        multiple: windows start at multiples of this, so that a grid inside the network keeps its phase.
        linear: True if the arithmetic grows with the area of a window, False for the square of the area.
        device: where it runs.
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
        self.profiler = NetworkProfiler(model, self._restore, multiple=multiple, linear=linear, device=device)

    def plan(self, size: Size, tile: int | None) -> OverlapPlan:
        """Plans one image; `tile` as in `run`."""
        chosen = self._choose(size, tile)
        axes = self._axes(size, chosen)
        window = Size(*(max(window.length for window in axis) for axis in axes))
        count, area = len(axes[0]) * len(axes[1]), window.height * window.width
        return OverlapPlan(chosen, area * self.profiler.bytes_per_px, count * self.profiler.flops(window))

    def run(self, size: Size, read: Read, write: Write, *, tile: int | None) -> Iterator[TileStep]:
        """Runs one image, yielding after each tile.

        Args:
            size: of the image.
            read, write: access to regions of the image and of the result.
            tile: largest side of what one tile owns, 0 for whole, None to choose. A chosen tile is halved
                when memory runs out, and the image starts again; rows already written are kept.

        Raises:
            PlanError: there is not enough memory.
        """
        chosen, written = self._choose(size, tile), 0

        def write_below(r: Region, part: Tensor) -> None:
            nonlocal written
            top = max(r.top, written)
            if top < r.bottom:
                write(r._replace(top=top), part[..., top - r.top :, :])
                written = r.bottom

        while True:
            try:
                yield from self._run(size, read, write_below, chosen)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            smaller = chosen // 2 if chosen else self._default
            if tile is not None or smaller < _SMALLEST_TILE:
                what = f"a tile of {chosen} px" if chosen else f"{size.width}x{size.height} px whole"
                raise PlanError(f"not enough memory for {what}; use a smaller tile or free some")
            chosen = smaller
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _run(self, size: Size, read: Read, write: Write, tile: int) -> Iterator[TileStep]:
        rows, columns = self._axes(size, tile)
        scale, total = self.scale, len(rows) * len(columns)
        heights, widths = ([window.length for window in axis] for axis in (rows, columns))
        area, seen = sum(heights) * sum(widths), 0
        ends = [*(row.start for row in rows[1:]), size.height]
        overlap: Tensor | None = None
        for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
            band = torch.zeros(1, 3, heights[i] * scale, size.width * scale, device=self.device)
            for j, column in enumerate(columns):
                part = self._restore(read(Region(row.start, row.stop, column.start, column.stop)))
                part = part * (row.weights[:, None] * column.weights)
                band[..., column.start * scale : column.stop * scale] += part
                if j == len(columns) - 1:  # the band is complete down to the start of the next one
                    if overlap is not None:
                        band[..., : overlap.shape[2], :] += overlap
                    done = (end - row.start) * scale
                    if done:
                        write(Region(row.start * scale, end * scale, 0, band.shape[3]), band[..., :done, :])
                    overlap = band[..., done:, :]
                seen += heights[i] * widths[j]
                yield TileStep(tile, i * len(columns) + j + 1, total, seen / area)

    def _restore(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.model(x).float()

    @property
    def _default(self) -> int:
        """Side of what a tile owns if it sees the default window."""
        return self.window - 2 * self.margin

    def _choose(self, size: Size, tile: int | None) -> int:
        """The tile size to run with; 0 for whole."""
        if tile is not None:
            return 0 if tile >= max(size) else tile
        area = size.height * size.width
        if area <= self.window**2:
            return 0
        affordable = free_memory(self.device) // 2 // self.profiler.bytes_per_px
        if area <= min(_WHOLE_WINDOWS * self.window**2, affordable):
            return 0
        chosen = self._default
        while chosen >= 2 * _SMALLEST_TILE and (chosen + 2 * self.margin) ** 2 > affordable:
            chosen //= 2
        return chosen

    def _axes(self, size: Size, tile: int) -> tuple[list[BlendWindow], list[BlendWindow]]:
        rows, columns = (
            blend_windows(
                side, tile or side, self.scale, self.device, margin=self.margin, multiple=self.multiple
            )
            for side in size
        )
        return rows, columns
