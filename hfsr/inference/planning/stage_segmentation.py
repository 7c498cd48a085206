"""Cuts stages into segments where that pays, and chooses how large the pieces are.

A window of a deep chain of convolutions computes a halo as wide as the chain is deep. Cut in the middle, each
half has half the halo, but the maps at the cut are kept whole, and moved once to memory and back. Large
pieces make halos small, but must be moved through memory themselves. `choose_segments` weighs these against
each other by counting floating-point operations and bytes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import fx

from hfsr.errors import PlanError

from ..program.geometry import Size, cut
from ..program.tracing import Program, Stage
from .planner import Plan, live_bytes, piece_cost, spill_place, usable_memory

__all__ = ["choose_segments"]

_TILES = (128, 192, 256, 384, 512, 768, 1024, 1536)
_MOVE = {4: 50.0, 2: 100.0, 1: 170.0}
"""Operations that take as long as moving one byte, by the bytes of the numbers that are computed with."""
_FIRST_TOUCH = 2.5
"""Moves that the first use of a byte of memory costs."""
_COPIES = 3
"""Times that a byte of a map is moved to get into a window or out of it."""
_LARGEST = 3 << 29
"""Bytes that a window may take when it is chosen: what larger ones win, they lose in memory."""
_PLACES = 10
"""Places at which a stage may be cut: looking at more takes time and finds little."""


class _Costs(NamedTuple):
    """What one segment costs for the whole image; `total` in operations, memory traffic included."""

    total: float
    flops: float
    peak: int


def choose_segments(
    program: Program, image: Size, *, itemsize: int, device: torch.device, tile: int | None
) -> tuple[Program, Plan]:
    """The program with its stages cut where that pays, and the plan of running it in windows.

    Args:
        program: as traced and prepared.
        image: size of the input.
        itemsize: bytes of a number as it is computed with: 4 for fp32, 2 for bf16, 1 for int8.
        device: whose memory is free for it.
        tile: largest side of what a piece owns, when it is not to be chosen.

    Raises:
        PlanError: not even the smallest window fits, or the kept maps do not.
    """
    free = usable_memory(device)
    live = live_bytes(program, image)
    budget = free - min(live, free // 2)
    if tile is None:
        budget = min(budget, _LARGEST)
    tiles = [tile] if tile else [t for t in _TILES if t < 2 * max(image)] or [_TILES[0]]
    best: tuple[float, int, list[tuple[Stage, _Costs]]] | None = None
    for side in tiles:
        cutter = _Cutter(program, image, side, itemsize, budget)
        segments = [segment for stage in program.stages for segment in cutter.cut(stage)]
        total = sum(costs.total for _, costs in segments)
        if total < math.inf and (best is None or total < best[0]):
            best = (total, side, segments)
    if best is None:
        raise PlanError(
            f"not enough memory for windows of {tiles[0]} px; free some, or use the backend torch"
        )
    _, side, segments = best
    program = replace(program, stages=_with_frees([stage for stage, _ in segments]))
    live = live_bytes(program, image)
    spill = spill_place(live, device, free) if live > free // 2 else None
    flops = tuple(costs.flops for _, costs in segments)
    return program, Plan(side, None, max(costs.peak for _, costs in segments), live, flops, spill)


class _Cutter:
    """Cuts stages for pieces of one size."""

    def __init__(self, program: Program, image: Size, side: int, itemsize: int, budget: int) -> None:
        pieces = list(cut(image, side))
        self.program = program
        self.image = image
        self.piece = Size(max(p.height for p in pieces), max(p.width for p in pieces))
        self.count = len(pieces)
        self.move = _MOVE[itemsize]
        self.budget = budget
        self.sizes = program.sizes(image)

    def cut(self, stage: Stage) -> list[tuple[Stage, _Costs]]:
        """The segments of a stage in order, each with what it costs; the cheapest way to cut it."""
        if not stage.nodes:
            return [(stage, _Costs(0.0, 0.0, 0))]
        places = self._places(stage)
        ways: list[tuple[float, list[tuple[Stage, _Costs]]]] = [(0.0, [])]
        for stop in range(1, len(places)):
            found = []
            for start in range(stop):
                segment = self._segment(stage, places[start], places[stop])
                costs = self._costs(segment)
                found.append((ways[start][0] + costs.total, [*ways[start][1], (segment, costs)]))
            ways.append(min(found, key=lambda way: way[0]))
        return ways[-1][1]

    def _places(self, stage: Stage) -> list[int]:
        """Where the stage may be cut, its two ends included: at even shares of the work, where little is
        read across.
        """
        nodes, program = stage.nodes, self.program
        position = {node: index for index, node in enumerate(nodes)}
        last = {node: max([position[u] for u in node.users if u in position], default=-1) for node in nodes}
        work = [program.operators[n].cost(program.channels[n]) * self._area(n) for n in nodes]
        share = sum(work) / _PLACES
        places, done = [0], 0.0
        cheapest: tuple[float, int] | None = None
        for index in range(1, len(nodes)):
            done += work[index - 1]
            across = sum(self._area(n) * program.channels[n] for n in nodes[:index] if last[n] >= index)
            if cheapest is None or across <= cheapest[0]:
                cheapest = (across, index)
            if done >= share:
                places.append(cheapest[1])
                done, cheapest = 0.0, None
        return [*places, len(nodes)]

    def _segment(self, stage: Stage, start: int, stop: int) -> Stage:
        """The nodes from `start` to `stop` as a stage; what comes after reads it through kept maps."""
        nodes = stage.nodes[start:stop]
        later = set(stage.nodes[stop:])
        inside = set(nodes)
        keeps = [n for n in nodes if n in stage.keeps or any(user in later for user in n.users)]
        last = stop == len(stage.nodes)
        pools = [p for p in stage.pools if self._pooled(p) in inside or (last and self._unmade(p))]
        return Stage(nodes, pools, keeps, stage.vectors if last else [])

    def _pooled(self, pool: fx.Node) -> fx.Node:
        return pool.all_input_nodes[0]

    def _unmade(self, pool: fx.Node) -> bool:
        return self._pooled(pool) is self.program.source

    def _costs(self, segment: Stage) -> _Costs:
        peak, flops = piece_cost(self.program, segment, self.piece, self.image)
        if peak > self.budget:
            return _Costs(math.inf, flops, peak)
        inside = set(segment.nodes)
        sources = {s for n in segment.nodes for s in self.program.operators[n].sources if s not in inside}
        moved = [*sources, *(n for n in self.program.targets(segment) if n in inside)]
        traffic = sum(self._area(n) * self.program.channels[n] for n in moved) * 4.0
        total = flops * self.count + self.move * (traffic * _COPIES + peak * _FIRST_TOUCH)
        return _Costs(total, flops * self.count, peak)

    def _area(self, node: fx.Node) -> int:
        return self.sizes[node].height * self.sizes[node].width


def _with_frees(stages: list[Stage]) -> list[Stage]:
    """The stages, each with the kept maps that nobody reads after it."""
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    for index, stage in enumerate(stages):
        for node in stage.keeps:
            readers = [home[user] for user in node.users if user in home]
            stages[max([*readers, index])].frees.append(node)
    return stages
