"""Memory and arithmetic of pieces, of streams of rows and of live maps, found without computing."""

from __future__ import annotations

import torch
from torch import fx

from ..execution.row_buffer import RowSpan, spans_after_append, spans_after_drop
from ..program.geometry import UNBOUNDED, Region, Size
from ..program.operators import Convolution, Operator, Pointwise, TransposedConvolution
from ..program.program import Program, Stage
from ..scheduling.row_schedule import BandHeights, RowSchedule, RowStep, reusable_buffers
from ..scheduling.virtual_concat import is_virtual_concat

__all__ = ["live_bytes", "map_bytes", "piece_cost", "rows_bytes", "stage_flops"]

_MIDDLE = 1 << 19
_WORKSPACE = 1.25
"""What a convolution takes beyond its input and output, as a factor on both."""


def map_bytes(program: Program, sizes: dict[fx.Node, Size], node: fx.Node) -> int:
    """Bytes of a whole map."""
    size = sizes[node]
    return size.height * size.width * program.channels[node] * program.operators[node].dtype.itemsize


def live_bytes(program: Program, image: Size, *, in_place: bool = False) -> int:
    """Peak bytes of the maps kept whole between stages.

    Args:
        in_place: new ones are written over old ones where a stream of rows may do so.
    """
    sizes = program.sizes(image)
    held = peak = 0
    for stage in program.stages:
        taken = set(reusable_buffers(program, stage, sizes).values()) if in_place else set()
        held += sum(map_bytes(program, sizes, node) for node in stage.keeps)
        held -= sum(map_bytes(program, sizes, node) for node in taken)
        peak = max(peak, held)
        held -= sum(map_bytes(program, sizes, node) for node in stage.frees if node not in taken)
    return peak


def stage_flops(program: Program, stage: Stage, sizes: dict[fx.Node, Size]) -> float:
    """Floating-point operations of a stage when each px of each map is computed once."""
    return sum(
        program.operators[node].cost(program.channels[node]) * sizes[node].height * sizes[node].width
        for node in stage.nodes
    )


def rows_bytes(program: Program, stage: Stage, sizes: dict[fx.Node, Size], bands: BandHeights) -> int:
    """Peak bytes of the rows held while a stage runs as a stream, followed step by step."""
    held: dict[fx.Node, list[RowSpan]] = {}
    desk: dict[torch.dtype, int] = {}
    total = peak = 0

    def weigh(node: fx.Node, spans: list[RowSpan]) -> int:
        rows = sum(bottom - top for top, bottom in spans)
        return rows * sizes[node].width * program.channels[node] * program.operators[node].dtype.itemsize

    def hold(node: fx.Node, spans: list[RowSpan]) -> None:
        nonlocal total
        total += weigh(node, spans) - weigh(node, held.get(node, []))
        held[node] = spans

    schedule = RowSchedule(program, stage, sizes, bands)
    waiting = set(schedule.nodes)
    while (band := schedule.next_band()) is not None:
        before = peak
        for step in band.steps:
            node, op = step.node, program.operators[step.node]
            joins = node in stage.keeps or step.top < step.start
            if op.inplace_source is not None and not joins:
                hold(op.inplace_source, [])  # its memory is the result's
            extra = (_WORKSPACE - 1) * weigh(node, [(step.start, step.stop)])
            if not isinstance(op, Pointwise):
                # The result, before it is copied to its place, and the input, where it must be made first.
                extra += weigh(node, [(step.start, step.stop)]) if joins else 0
                extra += _rounded_input(program, op, sizes, step)
                source = op.sources[0]
                if is_virtual_concat(program, source):  # in scratch memory, as large as any needs
                    dtype = program.operators[source].dtype
                    desk[dtype] = max(
                        desk.get(dtype, 0), _input_numbers(program, op, sizes, step) * dtype.itemsize
                    )
            made = [] if node in stage.keeps else [(step.top, step.stop)]
            peak = max(peak, int(total + sum(desk.values()) + weigh(node, made) + extra))
            if made:
                hold(node, spans_after_append(held.get(node, []), *made))
            for source, first in step.drops:
                hold(source, spans_after_drop(held[source], first))
            schedule.finish(node, step.stop)
        for node, first in band.drops:
            hold(node, spans_after_drop(held[node], first))
        schedule.finish_band(band)
        waiting.difference_update(step.node for step in band.steps)
        if not waiting and peak == before:
            break  # all maps flow: the bands that follow are alike
    return peak


def _rounded_input(program: Program, op: Operator, sizes: dict[fx.Node, Size], step: RowStep) -> int:
    """Bytes of a convolution's input when it must be copied into another number format."""
    given = program.dtype(op.sources[0])
    if isinstance(op, (Convolution, TransposedConvolution)) and op.compute_dtype not in (None, given):
        return _input_numbers(program, op, sizes, step) * op.compute_dtype.itemsize
    return 0


def _input_numbers(program: Program, op: Operator, sizes: dict[fx.Node, Size], step: RowStep) -> int:
    """How many numbers of its source a step reads."""
    source = op.sources[0]
    first, end = op.rows.input_range(step.start, step.stop)
    rows = min(end, sizes[source].height) - max(first, 0)
    return rows * sizes[source].width * program.channels[source]


def piece_cost(program: Program, stage: Stage, piece: Size, image: Size) -> tuple[int, float]:
    """Peak bytes and floating-point operations of one piece of one stage, away from the border where it can
    be.
    """
    limits = program.sizes(image)
    sizes = program.sizes(UNBOUNDED)
    region = Region(_MIDDLE, _MIDDLE + piece.height, _MIDDLE, _MIDDLE + piece.width)
    owned = program.owned(stage, region, sizes)
    needed = program.regions(stage, owned, sizes)

    def area(node: fx.Node) -> int:
        limit = limits[node]
        return min(needed[node].height, limit.height) * min(needed[node].width, limit.width)

    def weight(node: fx.Node) -> int:
        return area(node) * program.channels[node] * program.dtype(node).itemsize

    held: dict[fx.Node, int] = {}
    remaining = {node: sum(user in needed for user in node.users) for node in stage.nodes}
    peak, flops = 0, 0.0
    targets = set(owned)
    for node in stage.nodes:
        if node not in needed:
            continue
        op = program.operators[node]
        flops += op.cost(program.channels[node]) * area(node)
        result = 0 if op.inplace_source is not None else weight(node)
        reads = sum(weight(source) for source in op.sources)
        extra = (_WORKSPACE - 1) * (result + reads)
        if isinstance(op, (Convolution, TransposedConvolution)):
            extra += reads  # a convolution copies an input that is a part of a larger map
        peak = max(peak, int(sum(held.values()) + result + extra))
        held[node] = held.pop(op.inplace_source, 0) if op.inplace_source is not None else result
        for source in op.sources:
            if source in remaining:
                remaining[source] -= 1
                if remaining[source] == 0 and source not in targets:
                    held.pop(source, None)
    return peak, flops
