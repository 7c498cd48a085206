"""Networks that no graph can cut in pieces: whole where that is affordable, else in overlapping tiles.

Where every px depends on every other, as under attention over the whole image, no halo makes a tile exact.
Memory grows with the area of what such a network sees, time with its square: a picture of a few windows runs
whole, a larger one in tiles, each of which sees a window of it. Neighbours overlap, and fade into each other
where they do. That is an approximation, and `Step.tile` says where it was made.
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
from .blend_weights import Span, spans
from .profiler import Footprint

__all__ = ["Step", "WindowPlan", "Windowed"]

_WHOLE_WINDOWS = 8
"""A picture of up to so many windows runs whole: exact, and for a few times the seconds of tiles."""
_SMALLEST_TILE = 16


class Step(NamedTuple):
    """Where a run stands.

    Attributes:
        tile: largest side of what one tile owns, LR px; 0 for whole.
        done, total: tiles finished and tiles in all.
        share: of the work that is done, in (0, 1].
    """

    tile: int
    done: int
    total: int
    share: float


@dataclass(frozen=True)
class WindowPlan:
    """How one picture will be run.

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
        """In words: "whole", or "overlapping tiles of 64 px, an approximation"."""
        return f"overlapping tiles of {self.tile} px, an approximation" if self.tile else "whole"


class Windowed:
    """Runs a network that sees more than a halo on pictures of any size.

    Args:
        model: a restorer that enlarges by a whole number, in evaluation mode, on `device`.
        window: side in LR px of what it is meant to see at once.
        overlap: LR px that two windows have in common.
        multiple: of which windows begin on, so that a grid inside the network lies as in the whole picture.
        linear: its arithmetic grows with the area of a window, and not with the area's square.
        device: where it runs.
        dtype: float32, or what autocast computes in.

    Attributes:
        footprint: the memory and arithmetic that it takes.
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
        self.footprint = Footprint(model, self._restore, multiple=multiple, linear=linear, device=device)

    def plan(self, size: Size, tile: int | None) -> WindowPlan:
        """Plans one picture; `tile` as `run` takes it."""
        chosen = self._choose(size, tile)
        axes = self._spans(size, chosen)
        window = Size(*(max(span.stop - span.start for span in axis) for axis in axes))
        count, area = len(axes[0]) * len(axes[1]), window.height * window.width
        return WindowPlan(chosen, area * self.footprint.bytes_per_px, count * self.footprint.flops(window))

    def run(self, size: Size, read: Read, write: Write, *, tile: int | None) -> Iterator[Step]:
        """Runs one picture, yielding after each tile.

        Args:
            size: of the picture.
            read, write: where regions of the picture come from and regions of the result go.
            tile: largest side of what one tile owns, 0 for whole, None to choose. A tile that was chosen
                shrinks when memory runs out, and the picture starts again; rows that are written stay.

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

    def _run(self, size: Size, read: Read, write: Write, tile: int) -> Iterator[Step]:
        rows, columns = self._spans(size, tile)
        scale, total = self.scale, len(rows) * len(columns)
        heights, widths = ([span.stop - span.start for span in axis] for axis in (rows, columns))
        area, seen = sum(heights) * sum(widths), 0
        ends = [*(row.start for row in rows[1:]), size.height]
        overlap: Tensor | None = None
        for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
            band = torch.zeros(1, 3, heights[i] * scale, size.width * scale, device=self.device)
            for j, column in enumerate(columns):
                part = self._restore(read(Region(row.start, row.stop, column.start, column.stop)))
                part = part * (row.weights[:, None] * column.weights)
                band[..., column.start * scale : column.stop * scale] += part
                if j == len(columns) - 1:  # the band is complete down to where the next one begins
                    if overlap is not None:
                        band[..., : overlap.shape[2], :] += overlap
                    done = (end - row.start) * scale
                    if done:
                        write(Region(row.start * scale, end * scale, 0, band.shape[3]), band[..., :done, :])
                    overlap = band[..., done:, :]
                seen += heights[i] * widths[j]
                yield Step(tile, i * len(columns) + j + 1, total, seen / area)

    def _restore(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.model(x).float()

    # What it takes

    @property
    def _default(self) -> int:
        """Side of what a tile owns when its window is as large as the network is meant to see."""
        return self.window - 2 * self.margin

    def _choose(self, size: Size, tile: int | None) -> int:
        """The tile to run with; 0 for whole."""
        if tile is not None:
            return 0 if tile >= max(size) else tile
        area = size.height * size.width
        if area <= self.window**2:
            return 0
        affordable = free_memory(self.device) // 2 // self.footprint.bytes_per_px
        if area <= min(_WHOLE_WINDOWS * self.window**2, affordable):
            return 0
        chosen = self._default
        while chosen >= 2 * _SMALLEST_TILE and (chosen + 2 * self.margin) ** 2 > affordable:
            chosen //= 2
        return chosen

    def _spans(self, size: Size, tile: int) -> tuple[list[Span], list[Span]]:
        def cut_side(side: int) -> list[Span]:
            return spans(
                side, tile or side, self.scale, self.device, margin=self.margin, multiple=self.multiple
            )

        return cut_side(size.height), cut_side(size.width)
