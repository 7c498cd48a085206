"""Memory and arithmetic of pieces, of streams of rows and of live maps, found without computing."""

from __future__ import annotations

import torch
from torch import fx

from .graph import Program, Stage
from .operators import Convolution, Pointwise, TransposedConvolution
from .regions import Region, Size
from .schedule import Bands, Schedule, heirs

__all__ = ["live_bytes", "map_bytes", "piece_cost", "rows_bytes", "stage_flops"]

_MIDDLE = 1 << 19
_FAR = Size(1 << 20, 1 << 20)
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
        taken = set(heirs(program, stage, sizes).values()) if in_place else set()
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


def rows_bytes(program: Program, stage: Stage, sizes: dict[fx.Node, Size], bands: Bands) -> int:
    """Peak bytes of the rows held while a stage runs as a stream, followed step by step."""
    kept = set(stage.keeps)

    def weigh(node: fx.Node, rows: int) -> int:
        return rows * sizes[node].width * program.channels[node] * program.operators[node].dtype.itemsize

    held: dict[fx.Node, tuple[int, int]] = {}
    total = peak = 0

    def hold(node: fx.Node, top: int, bottom: int) -> None:
        nonlocal total
        old = held.pop(node, (0, 0))
        total -= weigh(node, old[1] - old[0])
        if bottom > top:
            held[node] = (top, bottom)
            total += weigh(node, bottom - top)

    schedule = Schedule(program, stage, sizes, bands)
    waiting = set(stage.nodes)
    while (band := schedule.next_band()) is not None:
        before = peak
        for step in band.steps:
            op, rows = program.operators[step.node], step.stop - step.start
            tail = held.get(step.node, (0, 0))
            joins = step.node in kept or step.node in held
            extra = weigh(step.node, tail[1] - tail[0])  # while it is copied in front of the new rows
            if not isinstance(op, Pointwise):
                extra += weigh(step.node, rows) if joins else 0  # the result, before it is copied there
                extra += _widened(program, op, sizes, step.start, step.stop)
            if step.node not in kept:
                hold(step.node, tail[0] if step.node in held else step.start, step.stop)
            peak = max(peak, int(total + extra + (_WORKSPACE - 1) * weigh(step.node, rows)))
            for node, first in step.drops:
                hold(node, max(first, held[node][0]), held[node][1])
            schedule.finish(step)
        for node, first in band.drops:
            hold(node, max(first, held[node][0]), held[node][1])
        schedule.finish_band(band)
        waiting.difference_update(step.node for step in band.steps)
        if not waiting and peak == before:
            break  # all maps flow: the bands that follow are alike
    return peak


def _widened(program: Program, op: object, sizes: dict[fx.Node, Size], start: int, stop: int) -> int:
    """Bytes of an operator's input when it must be copied into another number format."""
    if not isinstance(op, (Convolution, TransposedConvolution)):
        return 0
    source = op.sources[0]
    given = program.operators[source].dtype if source in program.operators else torch.float32
    if op.compute is None or given == op.compute:
        return 0
    first, end = op.rows.needs(start, stop)
    rows = min(end, sizes[source].height) - max(first, 0)
    return rows * sizes[source].width * program.channels[source] * op.compute.itemsize


def piece_cost(program: Program, stage: Stage, piece: Size, image: Size) -> tuple[int, float]:
    """Peak bytes and floating-point operations of one piece of one stage, away from the border where it can
    be.
    """
    limits = program.sizes(image)
    sizes = program.sizes(_FAR)
    region = Region(_MIDDLE, _MIDDLE + piece.height, _MIDDLE, _MIDDLE + piece.width)
    owned = program.owned(stage, region, sizes)
    needed = program.regions(stage, owned, sizes)

    def area(node: fx.Node) -> int:
        limit = limits[node]
        return min(needed[node].height, limit.height) * min(needed[node].width, limit.width)

    def weight(node: fx.Node) -> int:
        dtype = program.operators[node].dtype if node in program.operators else torch.float32
        return area(node) * program.channels[node] * dtype.itemsize

    held: dict[fx.Node, int] = {}
    remaining = {node: sum(user in needed for user in node.users) for node in stage.nodes}
    peak, flops = 0, 0.0
    targets = set(owned)
    for node in stage.nodes:
        if node not in needed:
            continue
        op = program.operators[node]
        flops += op.cost(program.channels[node]) * area(node)
        result = 0 if op.overwrites is not None else weight(node)
        reads = sum(weight(source) for source in op.sources)
        extra = (_WORKSPACE - 1) * (result + reads)
        if isinstance(op, (Convolution, TransposedConvolution)):
            extra += reads  # a convolution copies an input that is a part of a larger map
        peak = max(peak, int(sum(held.values()) + result + extra))
        held[node] = held.pop(op.overwrites, 0) if op.overwrites is not None else result
        for source in op.sources:
            if source in remaining:
                remaining[source] -= 1
                if remaining[source] == 0 and source not in targets:
                    held.pop(source, None)
    return peak, flops
