"""Runs a stage as a stream of rows: every px of every map is computed exactly once.

A band of rows of the image flows through all nodes. A node computes the rows that have become possible, and
keeps of its result only the last rows that a window further down still has to see. There is no halo, whatever
the depth of the network; what it costs instead is a few rows of every map, over the full width.

`schedule` says which rows of which map are computed and let go; here they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from hfsr.errors import PlanError

from ..program.geometry import Region
from ..program.program import Stage
from ..runtime.memory import is_out_of_memory
from ..scheduling.row_schedule import (
    Band,
    BandHeights,
    RowSchedule,
    RowStep,
    reusable_buffers,
    stays_in_row_buffer,
)
from .feature_store import Frame, Write
from .row_buffer import RowBuffer

__all__ = ["run_in_rows"]


def run_in_rows(frame: Frame, stage: Stage, bands: BandHeights, write: Write) -> Iterator[Region]:
    """Runs a stage, yielding the region of the image that each finished band owns.

    Args:
        bands: how high they are. When memory runs out the band is done again in halves, and so are all that
            follow: rows that have been computed are not computed again.

    Raises:
        PlanError: not even a band of one row fits into memory.
    """
    program = frame.program
    schedule = RowSchedule(program, stage, frame.sizes, bands)
    strips = {node for node in stage.keeps if stays_in_row_buffer(program, node)}
    frame.begin(stage, reusable_buffers(program, stage, frame.sizes), strips)
    while (band := schedule.next_band()) is not None:
        if _finished(frame, schedule, band):
            frame.commit(stage, band.owned, write)
            _drop(frame, band.drops)
            _drop_live(frame, stage, schedule)
            schedule.finish_band(band)
            if band.piece.top >= 0:
                yield band.piece
        elif not schedule.shrink():
            raise PlanError(
                f"not enough memory for a row of {frame.image.width} px; give a tile size or free some"
            )
        elif frame.device.type == "cuda":
            torch.cuda.empty_cache()
    frame.end(stage)


def _finished(frame: Frame, schedule: RowSchedule, band: Band) -> bool:
    """Computes a band; False when memory ran out, after the steps that could be done."""
    for step in band.steps:
        try:
            _compute(frame, schedule, step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        _drop(frame, step.drops)
    return True


def _compute(frame: Frame, schedule: RowSchedule, step: RowStep) -> None:
    """Computes a step's rows: into the whole map where it is kept, else below the rows still held."""
    node, region = step.node, Region(step.start, step.stop, 0, frame.sizes[step.node].width)
    if node not in frame.live:
        frame.extend(node, region, step.top)
        schedule.finish(node, step.stop)
        return
    for part in frame.parts(node, region):
        # One by one: they may lie where the rows lay that they are made of, and cannot be done again.
        frame.keep(node, part)
        schedule.finish(node, part.bottom)


def _drop(frame: Frame, drops: tuple[tuple[fx.Node, int], ...]) -> None:
    """Lets go of the rows above the first one still needed."""
    for node, first in drops:
        frame.rows[node].drop_above(first)


def _drop_live(frame: Frame, stage: Stage, schedule: RowSchedule) -> None:
    """Lets go of the strips of maps that nobody reads after this stage, and that it is past."""
    for node in stage.frees:
        held = frame.live[node]
        if isinstance(held, RowBuffer) and node not in stage.keeps:
            held.drop_above(schedule.first_needed(node))
