"""Memory and arithmetic of tiles, rows and live feature maps, computed without running the network."""

from __future__ import annotations

import torch
from torch import fx

from ..execution.row_buffer import RowSpan, spans_after_append, spans_after_drop
from ..program.geometry import Region, Size
from ..program.operators import Convolution, Operator, Pointwise, TransposedConvolution
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from ..scheduling.band_heights import BandHeights
from ..scheduling.buffer_reuse import reusable_buffers
from ..scheduling.row_schedule import RowSchedule, RowStep
from ..scheduling.virtual_concat import is_virtual_concat

__all__ = ["live_bytes", "row_peak_bytes", "tile_cost"]

_MIDDLE = 1 << 19
_WORKSPACE = 1.25
"""Memory of a convolution relative to that of its input and output."""


def live_bytes(sized: SizedProgram, *, reuse: bool = False) -> int:
    """Returns the peak bytes of the live feature maps.

    Args:
        sized: a lowered program for the size of the image.
        reuse: True if new ones take the memory of old ones where execution in rows allows it.
    """
    held = peak = 0
    for stage in sized.stages:
        reused = set(reusable_buffers(sized, stage).values()) if reuse else set()
        held += sum(sized.map_bytes(node) for node in stage.keeps)
        held -= sum(sized.map_bytes(node) for node in reused)
        peak = max(peak, held)
        held -= sum(sized.map_bytes(node) for node in stage.frees if node not in reused)
    return peak


def row_peak_bytes(sized: SizedProgram, stage: Stage, heights: BandHeights) -> int:
    """Returns the peak bytes of the rows that a stage holds when it runs in rows."""
    schedule = RowSchedule(sized, stage, heights)
    rows = _HeldRows(sized, stage)
    waiting = set(schedule.nodes)
    while (band := schedule.next_band()) is not None:
        before = rows.peak
        for step in band.steps:
            rows.compute(step)
            rows.drop(step.drops)
            schedule.finish(step.node, step.stop)
        rows.drop(band.drops)
        schedule.finish_band(band)
        waiting.difference_update(step.node for step in band.steps)
        if not waiting and rows.peak == before:
            break  # every feature map is reached: the remaining bands are equal
    return rows.peak


class _HeldRows:
    """Bytes of the held rows of a stage, updated step by step.

    Attributes:
        peak: maximum of the bytes held at once.
    """

    def __init__(self, sized: SizedProgram, stage: Stage) -> None:
        self._sized = sized
        self._stage = stage
        self._row_bytes = {node: sized.row_bytes(node) for node in stage.nodes}
        self._spans: dict[fx.Node, list[RowSpan]] = {}
        self._held: dict[fx.Node, int] = {}
        self._scratch: dict[torch.dtype, int] = {}
        self._total = 0
        self.peak = 0

    def compute(self, step: RowStep) -> None:
        """Adds the rows of a step, and the memory that computing them needs."""
        node, op = step.node, self._sized.operators[step.node]
        is_live = node in self._stage.keeps
        is_copied = is_live or step.top < step.start
        if op.inplace_source is not None and not is_copied:
            self._hold(op.inplace_source, [])  # its memory is reused
        rows = self._bytes(node, [(step.start, step.stop)])
        extra = (_WORKSPACE - 1) * rows
        if not isinstance(op, Pointwise):
            extra += rows if is_copied else 0  # the output before it is copied to its place
            extra += _cast_bytes(self._sized, op, step)
            size = Size(step.stop - step.start, self._sized.sizes[node].width)
            extra += op.workspace_bytes(size, self._sized.program.channels[node])
            self._grow_scratch(op, step)
        made = [] if is_live else [(step.top, step.stop)]
        held = self._total + sum(self._scratch.values()) + self._bytes(node, made)
        self.peak = max(self.peak, int(held + extra))
        if made:
            self._hold(node, spans_after_append(self._spans.get(node, []), *made))

    def drop(self, drops: tuple[tuple[fx.Node, int], ...]) -> None:
        """Frees the rows above the first one still needed."""
        for node, first in drops:
            self._hold(node, spans_after_drop(self._spans[node], first))

    def _hold(self, node: fx.Node, spans: list[RowSpan]) -> None:
        held = self._bytes(node, spans)
        self._total += held - self._held.get(node, 0)
        self._spans[node], self._held[node] = spans, held

    def _bytes(self, node: fx.Node, spans: list[RowSpan]) -> int:
        return sum(bottom - top for top, bottom in spans) * self._row_bytes[node]

    def _grow_scratch(self, op: Operator, step: RowStep) -> None:
        """Virtual concatenations share scratch memory, as large as the largest of a dtype."""
        source = op.sources[0]
        if is_virtual_concat(self._sized.program, source):
            dtype = self._sized.dtype(source)
            size = _input_numbers(self._sized, op, step) * dtype.itemsize
            self._scratch[dtype] = max(self._scratch.get(dtype, 0), size)


def _cast_bytes(sized: SizedProgram, op: Operator, step: RowStep) -> int:
    """Returns the bytes of copies of a convolution's input and output in its own dtype, if they differ."""
    if not isinstance(op, (Convolution, TransposedConvolution)) or op.compute_dtype is None:
        return 0
    numbers = 0
    if op.compute_dtype != sized.dtype(op.sources[0]):
        numbers += _input_numbers(sized, op, step)
    if op.compute_dtype != op.dtype:
        numbers += (step.stop - step.start) * sized.row_numbers(op.node)
    return numbers * op.compute_dtype.itemsize


def _input_numbers(sized: SizedProgram, op: Operator, step: RowStep) -> int:
    """Returns the number of values that a step reads from its first source."""
    source = op.sources[0]
    first, end = op.rows.input_range(step.start, step.stop)
    return (min(end, sized.sizes[source].height) - max(first, 0)) * sized.row_numbers(source)


def tile_cost(sized: SizedProgram, stage: Stage, tile: Size) -> tuple[int, float]:
    """Returns the peak bytes and floating-point operations of one tile of a stage, halo included.

    Args:
        sized: a lowered program for the size of the image.
        stage: the stage.
        tile: size of the region that the tile owns; it lies away from the border if the image is large
            enough.
    """
    needed, targets = _tile_sizes(sized, stage, tile)
    numbers = {node: size.height * size.width * sized.program.channels[node] for node, size in needed.items()}
    weight = {node: count * sized.dtype(node).itemsize for node, count in numbers.items()}
    held: dict[fx.Node, int] = {}
    readers = {node: sum(user in needed for user in node.users) for node in stage.nodes}
    peak, flops = 0, 0.0
    for node in stage.nodes:
        if node not in needed:
            continue
        op = sized.operators[node]
        flops += op.cost(sized.program.channels[node]) * needed[node].height * needed[node].width
        result = 0 if op.inplace_source is not None else weight[node]
        reads = sum(weight[source] for source in op.sources)
        extra = (_WORKSPACE - 1) * (result + reads)
        if isinstance(op, (Convolution, TransposedConvolution)):
            extra += reads  # a convolution copies an input that is a view of a larger feature map
        extra += op.workspace_bytes(needed[node], sized.program.channels[node])
        peak = max(peak, int(sum(held.values()) + result + extra))
        held[node] = held.pop(op.inplace_source, 0) if op.inplace_source is not None else result
        for source in op.sources:
            if source in readers:
                readers[source] -= 1
                if readers[source] == 0 and source not in targets:
                    held.pop(source, None)
    return peak, flops


def _tile_sizes(sized: SizedProgram, stage: Stage, tile: Size) -> tuple[dict[fx.Node, Size], set[fx.Node]]:
    """Returns the size of every feature map's region for one tile, and the targets of the stage."""
    unbounded = sized.unbounded
    region = Region(_MIDDLE, _MIDDLE + tile.height, _MIDDLE, _MIDDLE + tile.width)
    owned = unbounded.owned(stage, region)
    needed = unbounded.regions(stage, owned)
    sizes = {
        node: Size(min(r.height, sized.sizes[node].height), min(r.width, sized.sizes[node].width))
        for node, r in needed.items()
    }
    return sizes, set(owned)
