"""Execution in windows of one shape, so that an engine compiles each stage only once.

A window lies wholly inside the image: where a tile with its halo would exceed the image, or be smaller than
the others, the window is shifted inward. Where the edge of a window is that of the image, the padding of the
network is correct; elsewhere the halo separates the edge of the window from the region that the tile owns. So
the stage runs without masks, and the result is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, fx

from ..execution.executor import StagedExecutor
from ..execution.run_context import ExecutionContext
from ..image_io.sources_and_sinks import ImageSink
from ..program.geometry import Region, Size, tile_grid
from ..program.program import Program, Stage
from ..program.sized_program import SizedProgram
from .kept_memory import keep

__all__ = ["CompiledStage", "Engine", "StageIO", "WindowExecutor"]

_EXAMPLE_SIDE = 16
"""Side in px of an example image for tracing a stage."""
_DIVISIBLE_SIDE = 2**12 * 3**3 * 5 * 7
"""A side that is divisible by the denominators of usual scales."""
_COARSEST = 64
"""Maximum px of the image per px of a feature map."""


@dataclass(frozen=True)
class StageIO:
    """Inputs and outputs of a stage for windows of one shape.

    Attributes:
        maps: feature maps read by the stage.
        sizes: size of each in a window.
        examples: smaller sizes that fit together as well, for tracing.
        vectors: vectors read by the stage, with their values.
        outputs: feature maps computed by the stage for later ones.
        results: size of each in a window.
    """

    maps: list[fx.Node]
    sizes: list[Size]
    examples: list[Size]
    vectors: dict[fx.Node, Tensor]
    outputs: list[fx.Node]
    results: list[Size]


class CompiledStage(Protocol):
    """A stage compiled for windows of one shape."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Takes feature maps (1, C, h, w) and vectors; outputs (1, C, h, w) are valid until the next call."""

    def release(self) -> None:
        """Frees the memory of a run and keeps the compiled stage."""


class Engine(Protocol):
    """Compiler of stages."""

    def compile(self, program: Program, stage: Stage, io: StageIO) -> CompiledStage:
        """Compiles a stage for windows; a second call returns the same object."""


class WindowExecutor(StagedExecutor):
    """Runs a program in windows on an engine.

    Args:
        engine: compiles and runs stages.
        sized: a lowered program for the size of the image.
        tile: largest side of the region that one tile owns, px of the image.
        device: device of the feature maps.
        stage_flops: floating-point operations of each stage, halos included.
        spill: destination of large live feature maps (see `Allocator`).
        owner: the network for which the memory of its only stage is kept; None releases it.
    """

    def __init__(
        self,
        engine: Engine,
        sized: SizedProgram,
        tile: int,
        device: torch.device,
        *,
        stage_flops: Sequence[float] | None = None,
        spill: Path | str | None = None,
        owner: object | None = None,
    ) -> None:
        self._engine = engine
        self._owner = owner
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
        sized, stage = self.sized, self.sized.stages[index]
        context.begin_stage(stage)
        owned = [sized.owned(stage, tile) for tile in self._tiles]
        if not stage.nodes:  # the image itself is pooled
            for tile, owns in zip(self._tiles, owned, strict=True):
                context.commit(stage, owns, sink)
                yield tile
            context.end_stage(stage)
            return
        windows = _StageWindows(sized, stage)
        needs = [windows.needed(owns) for owns in owned]
        shape = Size(max(r.height for r in needs), max(r.width for r in needs))
        io = windows.stage_io(context, shape)
        run = self._engine.compile(sized.program, stage, io)
        for tile, owns, need in zip(self._tiles, owned, needs, strict=True):
            window = _shift_inside(need, shape, sized.image)
            maps = [context.feature(node, sized.rescale(window, node)) for node in io.maps]
            for node, result in zip(io.outputs, run([*maps, *io.vectors.values()]), strict=True):
                context.features.tiles[node] = (result, sized.rescale(window, node))
            context.commit(stage, owns, sink)
            context.features.tiles.clear()
            yield tile
        if self._owner is None:
            run.release()
        else:
            keep(self._owner, run)
        context.end_stage(stage)


class _StageWindows:
    """Windows of one stage, on the grid of the image at which all of its feature maps have whole px."""

    def __init__(self, sized: SizedProgram, stage: Stage) -> None:
        self._sized = sized
        self._stage = stage
        self._steps = _px_steps(sized.program, stage)
        self._grid = Size(*(math.lcm(*sides) for sides in zip(*self._steps.values(), strict=True)))

    def needed(self, owned: dict[fx.Node, Region]) -> Region:
        """Returns the part of the image, on the grid, with everything the `owned` regions depend on."""
        needed = self._sized.regions(self._stage, owned)
        parts = [self._to_image(region, node) for node, region in needed.items() if node in self._steps]
        reach = parts[0]
        for part in parts[1:]:
            reach = reach.union(part)
        return reach.clip(self._sized.image)

    def stage_io(self, context: ExecutionContext, shape: Size) -> StageIO:
        """Returns the inputs and outputs of the stage, each once and in order, for windows of this shape."""
        program, stage, inside = self._sized.program, self._stage, set(self._stage.nodes)
        read = dict.fromkeys(source for node in stage.nodes for source in node.all_input_nodes)
        maps = [n for n in read if n not in inside and (n is program.source or n in program.operators)]
        vectors = [n for n in read if n not in inside and n not in maps and n.op != "get_attr"]
        outputs = [node for node in program.targets(stage) if node in inside]
        steps = zip(self._grid, shape, strict=True)
        small = Size(*(min(-(-_EXAMPLE_SIDE // step) * step, side) for step, side in steps))
        return StageIO(
            maps=maps,
            sizes=self._sizes_in(shape, maps),
            examples=self._sizes_in(small, maps),
            vectors={node: context.value(node) for node in vectors},
            outputs=outputs,
            results=self._sizes_in(shape, outputs),
        )

    def _sizes_in(self, window: Size, nodes: list[fx.Node]) -> list[Size]:
        """Returns the sizes of feature maps in a window."""
        return [self._sized.rescale(Region.whole(window), node).size for node in nodes]

    def _to_image(self, region: Region, node: fx.Node) -> Region:
        """Returns the smallest part of the image on the grid that contains this region of a feature map."""
        edges = []
        for axis, (start, stop) in enumerate(((region.top, region.bottom), (region.left, region.right))):
            image, step = self._sized.image[axis], self._grid[axis]
            # Edges on the grid, times `image`, are multiples of this.
            unit = step * self._sized.sizes[node][axis]
            edges += [start * image // unit * step, -(-stop * image // unit) * step]
        return Region(*edges)


def _px_steps(program: Program, stage: Stage) -> dict[fx.Node, Size]:
    """Returns the px of the image per px of each feature map whose size is a whole fraction of the image's.

    A feature map that is larger or smaller by a margin, before it is cropped, is left out. It needs no entry,
    because no window starts and no result ends in it.
    """
    sizes = program.sizes(Size(_DIVISIBLE_SIDE, _DIVISIBLE_SIDE))
    nodes = [source for node in stage.nodes for source in program.operators[node].sources] + stage.nodes
    steps = {
        node: Size(*(_DIVISIBLE_SIDE // math.gcd(_DIVISIBLE_SIDE, side) for side in sizes[node]))
        for node in nodes
    }
    return {node: step for node, step in steps.items() if max(step) <= _COARSEST}


def _shift_inside(need: Region, shape: Size, image: Size) -> Region:
    """Returns the window of this shape that contains `need` and lies inside the image."""
    top = max(min(need.top, image.height - shape.height), 0)
    left = max(min(need.left, image.width - shape.width), 0)
    return Region(top, top + shape.height, left, left + shape.width)
