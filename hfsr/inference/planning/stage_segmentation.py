"""Splits stages into segments for a compiled backend, and chooses its tile size.

A window of a deep chain of convolutions computes a halo as wide as the chain is deep. If the chain is split
in the middle, each half has half the halo, but the feature maps at the cut are kept whole and written to
memory and read back. Large tiles have small halos but cause more memory traffic. `choose_segments` minimizes
the time estimated from floating-point operations and bytes moved.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import fx

from hfsr.errors import PlanError

from ..program.geometry import Size, tile_grid
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from .cost_model import live_bytes, tile_cost
from .planner import Plan, spill_place, usable_memory

__all__ = ["choose_segments"]

_TILES = (128, 192, 256, 384, 512, 768, 1024, 1536)
_MOVE = {4: 50.0, 2: 100.0, 1: 170.0}
"""Operations in the time of moving one byte, by the item size of the arithmetic dtype."""
_FIRST_TOUCH = 2.5
"""Cost of the first access to a byte of memory, in moves of a byte."""
_FIRST_TOUCH_KEPT = 0.5
"""The same for memory that stays for the next image: a share of the cost, as only the first image pays it."""
_COPIES = 3
"""Moves of a byte of a feature map into or out of a window."""
_LARGEST = 3 << 29
"""Maximum bytes of a chosen window whose memory is not kept: larger ones lose in first accesses to memory
what they save in halo."""
_MOST_CUTS = 10
"""Maximum number of cut positions in a stage; more take time and hardly improve the result."""


class SegmentCost(NamedTuple):
    """Cost of one segment for the whole image; `total` in operations, memory traffic included."""

    total: float
    flops: float
    peak: int


def choose_segments(
    sized: SizedProgram, *, itemsize: int, device: torch.device, tile: int | None, kept: int = 0
) -> tuple[SizedProgram, Plan]:
    """Splits the stages of a program if that saves time, and plans to run it in windows.

    Args:
        sized: a lowered program for the size of the image.
        itemsize: item size of the arithmetic: 4 for fp32, 2 for bf16, 1 for int8.
        device: device whose free memory limits the windows.
        tile: largest side of the region that a tile owns; None to choose.
        kept: bytes up to which the memory of a window stays allocated for the next image, if the whole
            network is one segment.

    Raises:
        PlanError: the smallest window, or the live feature maps, do not fit into memory.
    """
    free = usable_memory(device)
    image, live = sized.image, live_bytes(sized)
    budget = free - min(live, free // 2)
    if tile is None:
        budget = min(budget, _LARGEST)
    tiles = [tile] if tile else [t for t in _TILES if t < 2 * max(image)] or [_TILES[0]]
    best: tuple[float, int, list[tuple[Stage, SegmentCost]]] | None = None
    for side in tiles:
        cutter = _StageCutter(sized, side, itemsize, budget)
        candidates = [[segment for stage in sized.stages for segment in cutter.split(stage)]]
        if len(sized.stages) == 1:
            candidates.append([cutter.uncut(sized.stages[0], min(kept, free))])
        for segments in candidates:
            total = sum(costs.total for _, costs in segments)
            if total < math.inf and (best is None or total < best[0]):
                best = (total, side, segments)
    if best is None:
        raise PlanError(
            f"not enough memory for windows of {tiles[0]} px; free some, or use the backend torch"
        )
    _, side, segments = best
    stages = _set_frees([stage for stage, _ in segments])
    sized = SizedProgram(replace(sized.program, stages=stages), image)
    live = live_bytes(sized)
    spill = spill_place(live, device, free) if live > free // 2 else None
    flops = tuple(costs.flops for _, costs in segments)
    peak = max(costs.peak for _, costs in segments)
    return sized, Plan(side, None, peak, live, flops, spill)


class _StageCutter:
    """Splits stages for tiles of one size."""

    def __init__(self, sized: SizedProgram, side: int, itemsize: int, budget: int) -> None:
        tiles = list(tile_grid(sized.image, side))
        self._sized = sized
        self._tile = Size(max(t.height for t in tiles), max(t.width for t in tiles))
        self._count = len(tiles)
        self._move = _MOVE[itemsize]
        self._budget = budget

    def split(self, stage: Stage) -> list[tuple[Stage, SegmentCost]]:
        """Returns the segments of a stage and their costs for the cheapest split."""
        if not stage.nodes:
            return [(stage, SegmentCost(0.0, 0.0, 0))]
        places = self._cut_positions(stage)
        ways: list[tuple[float, list[tuple[Stage, SegmentCost]]]] = [(0.0, [])]
        for stop in range(1, len(places)):
            found = []
            for start in range(stop):
                segment = self._segment(stage, places[start], places[stop])
                costs = self._costs(segment, self._budget, _FIRST_TOUCH)
                found.append((ways[start][0] + costs.total, [*ways[start][1], (segment, costs)]))
            ways.append(min(found, key=lambda way: way[0]))
        return ways[-1][1]

    def uncut(self, stage: Stage, kept: int) -> tuple[Stage, SegmentCost]:
        """Returns a stage as one segment, with its cost if its memory of up to `kept` bytes is kept."""
        segment = self._segment(stage, 0, len(stage.nodes))
        return segment, self._costs(segment, kept, _FIRST_TOUCH_KEPT)

    def _cut_positions(self, stage: Stage) -> list[int]:
        """Returns the positions at which the stage may be split, including both ends.

        They are at even shares of the work, where few values are read across the cut.
        """
        nodes = stage.nodes
        position = {node: index for index, node in enumerate(nodes)}
        last = {node: max([position[u] for u in node.users if u in position], default=-1) for node in nodes}
        work = [self._sized.flops(n) for n in nodes]
        share = sum(work) / _MOST_CUTS
        places, done = [0], 0.0
        cheapest: tuple[float, int] | None = None
        for index in range(1, len(nodes)):
            done += work[index - 1]
            across = sum(self._numbers(n) for n in nodes[:index] if last[n] >= index)
            if cheapest is None or across <= cheapest[0]:
                cheapest = (across, index)
            if done >= share:
                places.append(cheapest[1])
                done, cheapest = 0.0, None
        return [*places, len(nodes)]

    def _segment(self, stage: Stage, start: int, stop: int) -> Stage:
        """Returns the nodes from `start` to `stop` as a stage; later nodes read it as live feature maps."""
        nodes = stage.nodes[start:stop]
        later = set(stage.nodes[stop:])
        inside = set(nodes)
        keeps = [n for n in nodes if n in stage.keeps or any(user in later for user in n.users)]
        last = stop == len(stage.nodes)
        pools = [p for p in stage.pools if self._pooled(p) in inside or (last and self._is_image(p))]
        return Stage(nodes, pools, keeps, stage.vectors if last else [])

    def _pooled(self, pool: fx.Node) -> fx.Node:
        return pool.all_input_nodes[0]

    def _is_image(self, pool: fx.Node) -> bool:
        return self._pooled(pool) is self._sized.program.source

    def _costs(self, segment: Stage, budget: int, first_touch: float) -> SegmentCost:
        peak, flops = tile_cost(self._sized, segment, self._tile)
        if peak > budget:
            return SegmentCost(math.inf, flops, peak)
        inside = set(segment.nodes)
        sources = {s for n in segment.nodes for s in self._sized.operators[n].sources if s not in inside}
        moved = [*sources, *(n for n in self._sized.program.targets(segment) if n in inside)]
        traffic = sum(self._numbers(n) for n in moved) * 4.0
        total = flops * self._count + self._move * (traffic * _COPIES + peak * first_touch)
        return SegmentCost(total, flops * self._count, peak)

    def _numbers(self, node: fx.Node) -> int:
        return self._sized.sizes[node].height * self._sized.row_numbers(node)


def _set_frees(stages: list[Stage]) -> list[Stage]:
    """Sets `frees` of each stage: the live feature maps without readers after it."""
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    for index, stage in enumerate(stages):
        for node in stage.keeps:
            readers = [home[user] for user in node.users if user in home]
            stages[max([*readers, index])].frees.append(node)
    return stages
