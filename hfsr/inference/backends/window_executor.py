"""Runs a stage in windows of one shape, so that an engine compiles it once and never again.

A window lies wholly inside the image: where a piece with its halo would reach out of it, or be smaller than
the others, the window is shifted inward. Where its edge is the image's, the padding of the network itself is
the right one; everywhere else the halo keeps what the window's own edge spoils away from what the piece owns.
So the sub-graph runs as it is, without masks, and the result is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, fx

from ..execution.feature_store import Frame, Write
from ..program.geometry import Region, Size, tile_grid
from ..program.program import Program, Stage

__all__ = ["CompiledStage", "Engine", "StageIO", "WindowExecutor"]

_EXAMPLE = 16
"""Px of the image from which a stage can be traced."""
_FAR = 2**12 * 3**3 * 5 * 7
"""A side that any usual fraction of it divides."""
_COARSEST = 64
"""Px of the image that one px of a map may stand for."""


@dataclass(frozen=True)
class StageIO:
    """What goes into a stage and comes out of it.

    Attributes:
        maps: read by the stage.
        sizes: of the part of each that a window sees.
        examples: smaller sizes that fit together as well.
        vectors: read by the stage, with their values.
        outputs: maps that the stage must give.
        results: sizes of what a window gives of each.
    """

    maps: list[fx.Node]
    sizes: list[Size]
    examples: list[Size]
    vectors: dict[fx.Node, Tensor]
    outputs: list[fx.Node]
    results: list[Size]


class CompiledStage(Protocol):
    """A stage that is ready for windows of one shape."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps (1, C, h, w) and vectors in; the targets out, (1, C, h, w), valid until the next call."""

    def release(self) -> None:
        """Gives back the memory of a run; what was compiled stays."""


class Engine(Protocol):
    """Compiles stages."""

    def compile(self, program: Program, stage: Stage, io: StageIO) -> CompiledStage:
        """The stage, compiled for windows; the same again is the same object."""


class WindowExecutor:
    """The way of one image through an engine; what `execute` calls for each stage.

    Args:
        engine: compiles and runs.
        tile: largest side of what one piece owns, px of the image.
    """

    def __init__(self, engine: Engine, tile: int) -> None:
        self.engine = engine
        self.tile = tile

    def __call__(self, frame: Frame, stage: Stage, write: Write) -> Iterator[Region]:
        """Runs a stage, yielding the region of the image that each finished piece owns."""
        program = frame.program
        frame.begin(stage)
        if not stage.nodes:  # the image itself is pooled
            for piece in tile_grid(frame.image, self.tile):
                frame.commit(stage, program.owned(stage, piece, frame.sizes), write)
                yield piece
            frame.end(stage)
            return
        steps = _steps(program, stage)
        grid = Size(*(math.lcm(*sides) for sides in zip(*steps.values(), strict=True)))
        pieces = list(tile_grid(frame.image, self.tile))
        owned = [program.owned(stage, piece, frame.sizes) for piece in pieces]
        needs = [_needed(frame, stage, owns, steps, grid) for owns in owned]
        shape = Size(max(r.height for r in needs), max(r.width for r in needs))
        io = _stage_io(frame, stage, shape, grid)
        run = self.engine.compile(program, stage, io)
        for piece, owns, need in zip(pieces, owned, needs, strict=True):
            window = _shifted(need, shape, frame.image)
            maps = [frame.feature(node, _scaled(window, frame, node)) for node in io.maps]
            for node, result in zip(io.outputs, run([*maps, *io.vectors.values()]), strict=True):
                frame.patches[node] = (result, _scaled(window, frame, node))
            frame.commit(stage, owns, write)
            frame.patches.clear()
            yield piece
        run.release()
        frame.end(stage)


def _stage_io(frame: Frame, stage: Stage, shape: Size, grid: Size) -> StageIO:
    """What a stage reads, each once and in order, and gives, in windows of this shape."""
    program, inside = frame.program, set(stage.nodes)
    read = dict.fromkeys(source for node in stage.nodes for source in node.all_input_nodes)
    maps = [n for n in read if n not in inside and (n is program.source or n in program.operators)]
    vectors = [n for n in read if n not in inside and n not in maps and n.op != "get_attr"]
    small = Size(*(min(-(-_EXAMPLE // g) * g, s) for g, s in zip(grid, shape, strict=True)))
    outputs = [node for node in program.targets(stage) if node in inside]

    def seen(window: Size, nodes: list[fx.Node]) -> list[Size]:
        return [_size(_scaled(Region(0, window.height, 0, window.width), frame, node)) for node in nodes]

    values = {node: frame.value(node) for node in vectors}
    return StageIO(maps, seen(shape, maps), seen(small, maps), values, outputs, seen(shape, outputs))


def _size(region: Region) -> Size:
    return Size(region.height, region.width)


def _steps(program: Program, stage: Stage) -> dict[fx.Node, Size]:
    """For the maps of a stage whose size is the image's times a fraction: how many px of the image make
    whole px of theirs.

    A map that is a margin larger or smaller, before it is trimmed, has none, and needs none where neither a
    window begins nor a result ends.
    """
    sizes = program.sizes(Size(_FAR, _FAR))
    sources = [s for node in stage.nodes for s in program.operators[node].sources]
    steps = {node: Size(*(_FAR // math.gcd(_FAR, side) for side in sizes[node])) for node in sources}
    steps |= {node: Size(*(_FAR // math.gcd(_FAR, side) for side in sizes[node])) for node in stage.nodes}
    return {node: step for node, step in steps.items() if max(step) <= _COARSEST}


def _needed(
    frame: Frame, stage: Stage, owned: dict[fx.Node, Region], steps: dict[fx.Node, Size], grid: Size
) -> Region:
    """The part of the image, on the grid, that everything a piece depends on lies in."""
    needed = frame.program.regions(stage, owned, frame.sizes)
    spans = [_unscaled(region, frame, node, grid) for node, region in needed.items() if node in steps]
    reach = spans[0]
    for span in spans[1:]:
        reach = reach.union(span)
    return reach.clip(frame.image)


def _unscaled(region: Region, frame: Frame, node: fx.Node, grid: Size) -> Region:
    """The smallest part of the image on the grid that holds this part of a map."""
    edges = []
    for axis, (start, stop) in enumerate(((region.top, region.bottom), (region.left, region.right))):
        image, size = frame.image[axis], frame.sizes[node][axis]
        unit = grid[axis] * size  # an edge in px of the map, times image, is a multiple of this on the grid
        edges += [start * image // unit * grid[axis], -(-stop * image // unit) * grid[axis]]
    return Region(*edges)


def _shifted(need: Region, shape: Size, image: Size) -> Region:
    """The window of this shape that holds `need` and lies inside the image."""
    top = max(min(need.top, image.height - shape.height), 0)
    left = max(min(need.left, image.width - shape.width), 0)
    return Region(top, top + shape.height, left, left + shape.width)


def _scaled(window: Region, frame: Frame, node: fx.Node) -> Region:
    return window.rescale(frame.image, frame.sizes[node])
