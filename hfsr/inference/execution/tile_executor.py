"""Execution in tiles, each with the halo it needs.

A halo is computed again for every tile, but no state passes from one tile to the next, so tiles may have any
size. Unlike in rows, new live feature maps cannot reuse the memory of old ones: a tile computes its halo
from values that its neighbor would have overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import fx

from hfsr.errors import PlanError

from ..image_io.sources_and_sinks import ImageSink
from ..program.geometry import Region, split_in_half, tile_grid
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from ..runtime.accelerator import empty_cache
from ..runtime.memory import is_out_of_memory
from .executor import StagedExecutor
from .run_context import ExecutionContext

__all__ = ["TileExecutor"]

_SMALLEST_TILE = 16


class TileExecutor(StagedExecutor):
    """Runs a program in tiles.

    Args:
        sized: a lowered program for the size of the image.
        tile: largest side of the region that a tile owns, px of the image; halved if memory runs out.
        device: device of the feature maps.
        stage_flops: floating-point operations of each stage, halos included.
        spill: destination of large live feature maps (see `Allocator`).
    """

    def __init__(
        self,
        sized: SizedProgram,
        tile: int,
        device: torch.device,
        *,
        stage_flops: Sequence[float] | None = None,
        spill: Path | str | None = None,
    ) -> None:
        self._tiles = list(tile_grid(sized.image, tile))
        super().__init__(
            sized,
            device,
            tile=tile,
            num_parts=len(self._tiles) * len(sized.stages),
            stage_flops=stage_flops,
            spill=spill,
        )

    def _run_stage(self, context: ExecutionContext, index: int, sink: ImageSink) -> Iterator[Region]:
        stage = self.sized.stages[index]
        last_uses = _last_uses(stage, self.sized.program.targets(stage))
        context.begin_stage(stage)
        for tile in self._tiles:
            self._run_tile(context, stage, tile, last_uses, sink)
            yield tile
        context.end_stage(stage)

    def _run_tile(
        self,
        context: ExecutionContext,
        stage: Stage,
        tile: Region,
        last_uses: dict[fx.Node, list[fx.Node]],
        sink: ImageSink,
    ) -> None:
        owned = self.sized.owned(stage, tile)
        try:
            self._compute(context, stage, owned, last_uses)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            context.commit(stage, owned, sink)
            context.features.tiles.clear()
            return
        context.features.tiles.clear()
        if max(tile.height, tile.width) <= _SMALLEST_TILE:
            raise PlanError(
                f"not enough memory for a tile of {tile.width}x{tile.height} px; free some, or use a CPU"
            )
        empty_cache(self.device)
        for half in split_in_half(tile):
            self._run_tile(context, stage, half, last_uses, sink)

    def _compute(
        self,
        context: ExecutionContext,
        stage: Stage,
        owned: dict[fx.Node, Region],
        last_uses: dict[fx.Node, list[fx.Node]],
    ) -> None:
        """Computes the regions of all feature maps that the `owned` regions depend on."""
        tiles, needed = context.features.tiles, self.sized.regions(stage, owned)
        for node in stage.nodes:
            if node in needed:
                region = needed[node]
                tiles[node] = (self.sized.operators[node].run(region, context), region)
            for source in last_uses.get(node, ()):
                tiles.pop(source, None)


def _last_uses(stage: Stage, targets: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Returns for each node of a stage the feature maps whose last reader it is."""
    inside = set(stage.nodes) - set(targets)
    last: dict[fx.Node, fx.Node] = {}
    for node in stage.nodes:
        for source in node.all_input_nodes:
            if source in inside:
                last[source] = node
    uses: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses
