"""Runs a stage as a stream of rows: every px of every map is computed exactly once.

A band of rows of the image flows through all nodes. A node computes the rows that have become possible, and
keeps of its result only the last rows that a window further down still has to see. There is no halo, whatever
the depth of the network; what it costs instead is a few rows of every map, over the full width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx

from hfsr.errors import PlanError

from .frame import Frame, Write, is_out_of_memory
from .graph import Program, Stage
from .regions import Region, Size

__all__ = ["Band", "Step", "run_in_rows", "schedule"]

_NEVER = 1 << 62
"""A row that no map has: nothing above it is needed."""


@dataclass(frozen=True)
class Step:
    """One node's share of a band.

    Attributes:
        node: what is computed.
        start, stop: its rows, in its own px.
        drops: maps that need fewer rows from now on: (node, first row still needed).
    """

    node: fx.Node
    start: int
    stop: int
    drops: tuple[tuple[fx.Node, int], ...]


@dataclass(frozen=True)
class Band:
    """A band of rows of the image, the steps that finish it, and what each target owns of it."""

    piece: Region
    owned: dict[fx.Node, Region]
    steps: list[Step]
    drops: tuple[tuple[fx.Node, int], ...]
    """What the targets need no more once the band is taken from them."""


def run_in_rows(frame: Frame, stage: Stage, rows: int, write: Write) -> Iterator[Region]:
    """Runs a stage, yielding the region of the image that each finished band owns.

    Args:
        rows: height of a band in px of the image. When memory runs out the stage starts again with half of
        it.

    Raises:
        PlanError: not even a band of one row fits into memory.
    """
    while True:
        try:
            frame.begin(stage)
            for band in schedule(frame.program, stage, frame.sizes, rows):
                for step in band.steps:
                    _compute(frame, step)
                frame.commit(stage, band.owned, write)
                _drop(frame, band.drops)
                yield band.piece
            frame.end(stage)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if rows == 1:
            raise PlanError(
                f"not enough memory for a row of {frame.image.width} px; give a tile size or free some"
            )
        rows = -(-rows // 2)
        if frame.device.type == "cuda":
            torch.cuda.empty_cache()


def schedule(
    program: Program,
    stage: Stage,
    sizes: dict[fx.Node, Size],
    rows: int,
) -> Iterator[Band]:
    """Which rows of which map are computed and let go, band by band."""
    image = sizes[program.source]
    done = dict.fromkeys(stage.nodes, 0)
    readers = {node: [user for user in node.users if user in done] for node in stage.nodes}
    held_from = {node: 0 for node in program.targets(stage) if node in done}
    for top in range(0, image.height, rows):
        piece = Region(top, min(top + rows, image.height), 0, image.width)
        owned = program.owned(stage, piece, sizes)
        stops = _stops(program, stage, owned, sizes)
        spans = {node: (start, stops[node]) for node, start in done.items() if stops.get(node, 0) > start}
        done.update({node: stop for node, (_, stop) in spans.items()})
        last_reader = {s: node for node in spans for s in program.operators[node].sources if s in done}
        keep = {
            source: min((_first_row(program, r, done[r], sizes) for r in readers[source]), default=_NEVER)
            for source in {*last_reader, *held_from}
        }
        drops: dict[fx.Node, list[tuple[fx.Node, int]]] = {}
        for source, reader in last_reader.items():
            if source not in held_from:
                drops.setdefault(reader, []).append((source, keep[source]))
        steps = [Step(node, *span, tuple(drops.get(node, ()))) for node, span in spans.items()]
        ends = []
        for node, top_row in held_from.items():
            # Of a map smaller than the image a band may own nothing: its rows wait for one that does.
            first = min(keep[node], piece.scaled(image, sizes[node]).bottom)
            if top_row < min(first, done[node]):
                ends.append((node, first))
                held_from[node] = min(first, done[node])
        yield Band(piece, owned, steps, tuple(ends))


def _stops(
    program: Program, stage: Stage, owned: dict[fx.Node, Region], sizes: dict[fx.Node, Size]
) -> dict[fx.Node, int]:
    """Down to which row each map is needed, so that the targets reach the end of what they own."""
    stops = {node: region.bottom for node, region in owned.items()}
    inside = set(stage.nodes)
    for node in reversed(stage.nodes):
        if node in stops:
            op = program.operators[node]
            end = op.rows.needs(stops[node] - 1, stops[node])[1]
            for source in op.sources:
                if source in inside:
                    stops[source] = max(stops.get(source, 0), min(end, sizes[source].height))
    return stops


def _first_row(program: Program, reader: fx.Node, done: int, sizes: dict[fx.Node, Size]) -> int:
    """The first row of its sources that a node with `done` finished rows will ask for."""
    if done >= sizes[reader].height:
        return _NEVER
    return max(program.operators[reader].rows.needs(done, done + 1)[0], 0)


def _compute(frame: Frame, step: Step) -> None:
    """Computes a step's rows and appends them to the rows of that map that are still held."""
    node, op = step.node, frame.program.operators[step.node]
    region = Region(step.start, step.stop, 0, frame.sizes[node].width)
    if node in frame.patches:
        tail, held = frame.patches[node]
        joined = held._replace(bottom=step.stop)
        _, channels, _, width = tail.shape
        shape = (1, joined.height, width, channels)
        rows = torch.empty(shape, dtype=tail.dtype, device=tail.device).permute(0, 3, 1, 2)
        rows[..., : held.height, :] = tail
        op.run_into(region, frame, rows[..., held.height :, :])
        frame.patches[node] = (rows, joined)
    else:
        frame.patches[node] = (op.run(region, frame), region)
    _drop(frame, step.drops)


def _drop(frame: Frame, drops: tuple[tuple[fx.Node, int], ...]) -> None:
    """Lets go of the rows above the first one still needed."""
    for node, first in drops:
        tensor, held = frame.patches[node]
        if first >= held.bottom:
            del frame.patches[node]
        elif first > held.top:
            # A copy, because a part of a tensor would keep the memory of the whole.
            rest = tensor[..., first - held.top :, :].clone(memory_format=torch.channels_last)
            frame.patches[node] = (rest, held._replace(top=first))
