"""Execution in rows: every px of every feature map is computed exactly once.

A band of rows of the image passes through all nodes of a stage. A node computes the rows whose inputs are
complete, and keeps only the last rows, which later windows still read. There is no halo, whatever the
depth of the network; instead a few rows of every feature map are held over the full width. `RowSchedule`
decides which rows are computed and freed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, fx

from hfsr.errors import PlanError

from ..image_io.sources_and_sinks import ImageSink
from ..program.geometry import Region
from ..program.operators import Pointwise
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from ..runtime.accelerator import empty_cache
from ..runtime.memory import is_out_of_memory
from ..scheduling.band_heights import BandHeights
from ..scheduling.buffer_reuse import reusable_buffers, stays_in_row_buffer
from ..scheduling.row_schedule import Band, RowSchedule, RowStep
from .executor import StagedExecutor
from .feature_store import read_region
from .row_buffer import RowBuffer
from .run_context import ExecutionContext

__all__ = ["RowExecutor"]


class RowExecutor(StagedExecutor):
    """Runs a program in rows.

    Args:
        sized: a lowered program for the size of the image.
        heights: band heights of each stage. If memory runs out, the remaining bands are halved; finished
            rows are not computed again.
        device: device of the feature maps.
        spill: destination of large live feature maps (see `Allocator`).
    """

    def __init__(
        self,
        sized: SizedProgram,
        heights: Sequence[BandHeights],
        device: torch.device,
        *,
        spill: Path | str | None = None,
    ) -> None:
        super().__init__(
            sized,
            device,
            tile=f"rows:{max(h.rows for h in heights)}",
            num_parts=sum(h.count(sized.image.height) for h in heights),
            spill=spill,
        )
        self._heights = heights

    def _run_stage(self, context: ExecutionContext, index: int, sink: ImageSink) -> Iterator[Region]:
        sized, stage = self.sized, self.sized.stages[index]
        schedule = RowSchedule(sized, stage, self._heights[index])
        buffered = {node for node in stage.keeps if stays_in_row_buffer(sized.program, node)}
        context.begin_stage(stage, reusable_buffers(sized, stage), buffered)
        rows = _StageRows(context, schedule)
        while (band := schedule.next_band()) is not None:
            if rows.compute(band):
                context.commit(stage, band.owned, sink)
                rows.drop(band.drops)
                rows.drop_live(stage)
                schedule.finish_band(band)
                if band.part.top >= 0:
                    yield band.part
            elif not schedule.shrink():
                raise PlanError(
                    f"not enough memory for a row of {sized.image.width} px; give a tile size or free some"
                )
            else:
                empty_cache(self.device)
        context.end_stage(stage)


class _StageRows:
    """Computes and frees the rows of one stage."""

    def __init__(self, context: ExecutionContext, schedule: RowSchedule) -> None:
        self._context = context
        self._features = context.features
        self._operators = context.sized.operators
        self._schedule = schedule

    def compute(self, band: Band) -> bool:
        """Computes a band; returns False if memory ran out, after the steps that succeeded."""
        for step in band.steps:
            try:
                self._compute_step(step)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return False
            self.drop(step.drops)
        return True

    def drop(self, drops: tuple[tuple[fx.Node, int], ...]) -> None:
        """Frees the rows above the first one still needed."""
        for node, first in drops:
            self._features.rows[node].drop_above(first)

    def drop_live(self, stage: Stage) -> None:
        """Frees rows of live feature maps in row buffers without readers after this stage."""
        for node in stage.frees:
            held = self._features.live[node]
            if isinstance(held, RowBuffer) and node not in stage.keeps:
                held.drop_above(self._schedule.first_needed(node))

    def _compute_step(self, step: RowStep) -> None:
        """Computes the rows of a step: into the live feature map, or as a new chunk of a row buffer."""
        node = step.node
        region = Region(step.start, step.stop, 0, self._context.size(node).width)
        if node not in self._features.live:
            self._append(node, region, step.top)
            self._schedule.finish(node, step.stop)
            return
        for part in self._split_at_chunks(node, region):
            # One part at a time: a part may overwrite its own input rows, so it cannot be repeated.
            self._compute_live(node, part)
            self._schedule.finish(node, part.bottom)

    def _compute_live(self, node: fx.Node, region: Region) -> None:
        op, held = self._operators[node], self._features.live[node]
        if isinstance(held, RowBuffer):
            held.append(region.top, op.run(region, self._context))
            return
        out = read_region(held, region)
        if out.device == self._context.device:
            op.run_into(region, self._context, out)
        else:
            out.copy_(op.run(region, self._context))

    def _append(self, node: fx.Node, region: Region, top: int) -> None:
        """Appends rows to a row buffer, in one chunk with the held rows from `top` on."""
        held = self._features.rows.setdefault(node, RowBuffer())
        above = held.read(region._replace(top=top, bottom=region.top)) if top < region.top else None
        held.append(top, self._compute_rows(node, region, above))

    def _compute_rows(self, node: fx.Node, region: Region, above: Tensor | None) -> Tensor:
        """Computes a region below rows that are already computed."""
        op, parts = self._operators[node], self._split_at_chunks(node, region)
        if above is None and len(parts) == 1:
            return op.run(region, self._context)
        joined = 0 if above is None else above.shape[2]
        rows = self._context.allocator.rows(node, joined + region.height, region.width)
        if above is not None:
            rows[..., :joined, :] = above
        below = rows[..., joined:, :]
        for part in parts:
            out = below[..., part.top - region.top : part.bottom - region.top, :]
            op.run_into(part, self._context, out)
        return rows

    def _split_at_chunks(self, node: fx.Node, region: Region) -> list[Region]:
        """Splits the region of a pointwise operator where chunks of its sources end, to avoid copies."""
        op = self._operators[node]
        sources = op.sources if isinstance(op, Pointwise) else []
        buffers = [buffer for source in sources if (buffer := self._features.row_buffer(source))]
        edges = {edge for buffer in buffers for edge in buffer.edges(region.top, region.bottom)}
        bounds = itertools.pairwise([region.top, *sorted(edges), region.bottom])
        return [region._replace(top=top, bottom=bottom) for top, bottom in bounds]
