"""Networks that no graph can cut in pieces: whole where that is affordable, else in overlapping tiles.

Where every px depends on every other, as under attention over the whole image, no halo makes a tile exact.
Memory grows with the area of what such a network sees, time with its square: a picture of a few windows runs
whole, a larger one in tiles, each of which sees a window of it. Neighbours overlap, and fade into each other
where they do. That is an approximation, and `Step.tile` says where it was made.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hfsr.errors import PlanError

from .frame import Read, Write
from .memory import free_memory, is_out_of_memory
from .regions import Region, Size, cut

__all__ = ["Span", "Step", "WindowPlan", "Windowed", "spans"]

_FADE = 5
"""Px on either side of a join over which one tile fades into the next. What a window sees beyond them is
thrown away: zeros beyond the edge show there most."""
_WHOLE_WINDOWS = 8
"""A picture of up to so many windows runs whole: exact, and for a few times the seconds of tiles."""
_SMALLEST_TILE = 16
_PROBE = 16
"""Side in px of the picture on which memory is measured."""


class Span(NamedTuple):
    """A window along one side of the picture.

    Attributes:
        start, stop: what it sees, LR px.
        weights: its share in the result, (length * scale,); those of all windows add up to one.
    """

    start: int
    stop: int
    weights: Tensor


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
        self.linear = linear
        self.device = device
        self.dtype = dtype

    def plan(self, size: Size, tile: int | None) -> WindowPlan:
        """Plans one picture; `tile` as `run` takes it."""
        chosen = self._choose(size, tile)
        axes = self._spans(size, chosen)
        window = Size(*(max(span.stop - span.start for span in axis) for axis in axes))
        count = len(axes[0]) * len(axes[1])
        return WindowPlan(
            chosen, window.height * window.width * self._bytes_per_px, count * self._flops(window)
        )

    def run(self, size: Size, read: Read, write: Write, *, tile: int | None) -> Iterator[Step]:
        """Runs one picture, yielding after each tile.

        Args:
            size: of the picture.
            read, write: where regions of the picture come from and regions of the result go.
            tile: largest side of what one tile owns, 0 for whole, None to choose. A tile that was chosen
                shrinks when memory runs out, and the picture starts again.

        Raises:
            PlanError: there is not enough memory.
        """
        chosen = self._choose(size, tile)
        while True:
            try:
                yield from self._run(size, read, write, chosen)
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

    def flops_seconds(self) -> float:
        """Seconds of one floating-point operation, measured on a small picture."""
        side = 2 * _PROBE + -_PROBE % self.multiple
        image = torch.zeros(1, 3, side, side, device=self.device)
        self._restore(image)
        started = time.perf_counter()
        self._restore(image)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return (time.perf_counter() - started) / max(1.0, self._flops(Size(side, side)))

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
        affordable = free_memory(self.device) // 2 // self._bytes_per_px
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

    @property
    def _bytes_per_px(self) -> int:
        """Peak memory per px of the picture."""
        return self._probed[0]

    @functools.cached_property
    def _probed(self) -> tuple[int, float]:
        """Peak memory and floating-point operations per px, measured on a small picture.

        Memory grows linearly with the area everywhere, arithmetic where the network is `linear`.
        """
        side = _PROBE + -_PROBE % self.multiple
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), _LiveBytes() as live, counter:
            self._restore(torch.zeros(1, 3, side, side, device=self.device))
        return live.peak // side**2 + 1, counter.get_total_flops() / side**2

    def _flops(self, size: Size) -> float:
        """Floating-point operations of one window, counted without computing where they are not linear."""
        if self.linear:
            return self._probed[1] * size.height * size.width
        tensors = dict([*self.model.named_parameters(), *self.model.named_buffers()])
        shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            functional_call(self.model, shapes, torch.empty(1, 3, *size, device="meta"))
        return float(counter.get_total_flops())


class _LiveBytes(TorchDispatchMode):
    """Follows how much memory the tensors take that operations make, while it is active.

    Attributes:
        peak: the most that was held at once, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in given and key not in self._held:
                self._held[key] = storage.nbytes()
                weakref.finalize(storage, self._held.pop, key, None)
        self.peak = max(self.peak, sum(self._held.values()))
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


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
