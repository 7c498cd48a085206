"""Runs a stage as a stream of rows: every px of every map is computed exactly once.

A band of rows of the image flows through all nodes. A node computes the rows that have become possible, and
keeps of its result only the last rows that a window further down still has to see. There is no halo, whatever
the depth of the network; what it costs instead is a few rows of every map, over the full width.

`schedule` says which rows of which map are computed and let go; here they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, fx

from hfsr.errors import PlanError

from .frame import Frame, Write
from .graph import Stage
from .memory import is_out_of_memory
from .regions import Region
from .schedule import Band, Bands, Schedule, Step, heirs, in_strips
from .strips import Strips

__all__ = ["run_in_rows"]


def run_in_rows(frame: Frame, stage: Stage, bands: Bands, write: Write) -> Iterator[Region]:
    """Runs a stage, yielding the region of the image that each finished band owns.

    Args:
        bands: how high they are. When memory runs out the band is done again in halves, and so are all that
            follow: rows that have been computed are not computed again.

    Raises:
        PlanError: not even a band of one row fits into memory.
    """
    program = frame.program
    schedule = Schedule(program, stage, frame.sizes, bands)
    strips = {node for node in stage.keeps if in_strips(program, node)}
    frame.begin(stage, heirs(program, stage, frame.sizes), strips)
    while (band := schedule.next_band()) is not None:
        if _finished(frame, schedule, band):
            frame.commit(stage, band.owned, write)
            _drop(frame, band.drops)
            _drop_strips(frame, stage, schedule)
            schedule.finish_band(band)
            yield band.piece
        elif not schedule.shrink():
            raise PlanError(
                f"not enough memory for a row of {frame.image.width} px; give a tile size or free some"
            )
        elif frame.device.type == "cuda":
            torch.cuda.empty_cache()
    frame.end(stage)


def _finished(frame: Frame, schedule: Schedule, band: Band) -> bool:
    """Computes a band; False when memory ran out, after the steps that could be done."""
    for step in band.steps:
        for part in _parts(frame, step):
            try:
                _compute(frame, part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return False
            schedule.finish(part)
        _drop(frame, step.drops)
    return True


def _parts(frame: Frame, step: Step) -> list[Step]:
    """A step of a kept map, cut where the strips end that it reads, so that none has to be copied."""
    sources = frame.program.operators[step.node].sources if step.node in frame.live else []
    held = [frame.live[source] for source in sources if source in frame.live]
    edges = {edge for each in held if isinstance(each, Strips) for edge in each.edges(step.start, step.stop)}
    bounds = [step.start, *sorted(edges), step.stop]
    return [replace(step, start=start, stop=stop) for start, stop in itertools.pairwise(bounds)]


def _compute(frame: Frame, step: Step) -> None:
    """Computes a step's rows: into the whole map where it is kept, else behind the rows still held."""
    node, op = step.node, frame.program.operators[step.node]
    region = Region(step.start, step.stop, 0, frame.sizes[node].width)
    if node in frame.live:
        frame.keep(node, region)
    elif node in frame.patches:
        tail, held = frame.patches[node]
        joined = held._replace(bottom=step.stop)
        _, channels, _, width = tail.shape
        shape = (1, joined.height, width, channels)
        rows = torch.empty(shape, dtype=tail.dtype, device=tail.device).permute(0, 3, 1, 2)
        op.run_into(region, frame, rows[..., held.height :, :])
        rows[..., : held.height, :] = tail
        frame.patches[node] = (rows, joined)
    else:
        frame.patches[node] = (op.run(region, frame), region)


def _drop(frame: Frame, drops: tuple[tuple[fx.Node, int], ...]) -> None:
    """Lets go of the rows above the first one still needed."""
    for node, first in drops:
        tensor, held = frame.patches[node]
        if first >= held.bottom:
            del frame.patches[node]
        elif first > held.top:
            # A copy, because a part of a tensor would keep the memory of the whole.
            rest = _saved(frame, node, tensor[..., first - held.top :, :])
            frame.patches[node] = (rest, held._replace(top=first))


def _drop_strips(frame: Frame, stage: Stage, schedule: Schedule) -> None:
    """Lets go of the strips of maps that nobody reads after this stage, and that it is past."""
    for node in stage.frees:
        held = frame.live[node]
        if isinstance(held, Strips) and node not in stage.keeps:
            held.drop_above(schedule.first_needed(node))


def _saved(frame: Frame, node: fx.Node, rows: Tensor) -> Tensor:
    """A copy of a map's last rows, where the last band's lay: new memory for every small copy would leave
    holes between the large tensors, into which the next ones do not fit.
    """
    place = frame.tails.get(node)
    reads_itself = place is not None and place.untyped_storage()._cdata == rows.untyped_storage()._cdata
    if place is None or place.shape != rows.shape or reads_itself:
        place = torch.empty_like(rows, memory_format=torch.channels_last)
        frame.tails[node] = place
    return place.copy_(rows)
