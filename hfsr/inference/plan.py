"""Chooses the piece size: what a piece costs in memory and arithmetic, and what the machine has free."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import fx

from hfsr.errors import PlanError

from .graph import Program, Stage
from .operators import Convolution, TransposedConvolution
from .regions import Region, Size
from .rows import schedule

__all__ = ["Plan", "free_memory", "live_bytes", "make_plan", "piece_cost", "spill_place", "usable_memory"]

_TILES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_BAND_AREA = {"cpu": 1 << 16, "cuda": 1 << 19}
"""Px of a band past which nothing is won: the arithmetic is busy, and on a CPU the caches overflow."""
_MIDDLE = 1 << 19
_FAR = Size(1 << 20, 1 << 20)
_WORKSPACE = 1.25
"""What a convolution takes beyond its input and output, as a factor on both."""
_USABLE = 0.6
"""Share of the free memory that a run may take."""


@dataclass(frozen=True)
class Plan:
    """How one image will be run: in pieces (`tile`) or as a stream of rows (`rows`), one of the two.

    Attributes:
        tile: largest side of what one piece owns, in LR px.
        rows: height of a band, in LR px.
        part_bytes: peak memory of what is held while a stage runs.
        live_bytes: peak memory of the maps kept whole between stages.
        flops: floating-point operations of the whole run.
        stage_flops: the same per stage, for an estimate of the time left.
        spill: folder for the live maps when they do not fit into memory, else None.
    """

    tile: int | None
    rows: int | None
    part_bytes: int
    live_bytes: int
    stage_flops: tuple[float, ...]
    spill: Path | None = None

    @property
    def flops(self) -> float:
        return sum(self.stage_flops)

    @property
    def parts(self) -> str:
        """In words: "pieces of 256 px" or "bands of 32 rows"."""
        return f"bands of {self.rows} rows" if self.rows else f"pieces of {self.tile} px"

    def spill_folder(self, size: int) -> Path | None:
        """Where a live map of `size` bytes goes: a folder, or None for memory."""
        return self.spill if size > (16 << 20) else None


def free_memory(device: torch.device) -> int:
    """Bytes free on the device for this process."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    return int(psutil.virtual_memory().available)


def usable_memory(device: torch.device) -> int:
    """Bytes of the free memory that a run may take."""
    return int(free_memory(device) * _USABLE)


def make_plan(program: Program, image: Size, device: torch.device, tile: int | None = None) -> Plan:
    """Plans one image: in pieces of `tile` px where that is given, else in the fastest way that fits into
    memory.

    A stream of rows computes everything once and is taken wherever a few rows of every map fit; pieces else.

    Raises:
        PlanError: the live maps fit neither into memory nor on the disk.
    """
    free = usable_memory(device)
    live = live_bytes(program, image)
    spill = spill_place(live, device, free) if live > free // 2 else None
    if tile is not None:
        return _in_pieces(program, image, tile, live, spill)
    budget = free if spill else free - live
    rows = max(1, min(_BAND_AREA[device.type] // image.width, image.height))
    while rows >= 1:
        plan = _in_rows(program, image, rows, live, spill)
        if plan.part_bytes <= budget:
            return plan
        # A little of a band's memory does not shrink with it; what is left to try is at most half.
        rows = min(rows // 2, rows * budget // plan.part_bytes)
    sensible = [t for t in _TILES if t < 2 * max(image)] or [_TILES[0]]
    plans = [_in_pieces(program, image, t, live, spill) for t in sensible]
    fitting = [plan for plan in plans if plan.part_bytes <= budget] or plans[:1]
    return min(fitting, key=lambda plan: plan.flops)


def _in_rows(program: Program, image: Size, rows: int, live: int, spill: Path | None) -> Plan:
    sizes = program.sizes(image)
    flops = tuple(
        sum(
            program.operators[node].cost(program.channels[node]) * sizes[node].height * sizes[node].width
            for node in stage.nodes
        )
        for stage in program.stages
    )
    peak = max(_rows_bytes(program, stage, sizes, rows) for stage in program.stages)
    return Plan(None, rows, peak, live, flops, spill)


def _rows_bytes(program: Program, stage: Stage, sizes: dict[fx.Node, Size], rows: int) -> int:
    """Peak bytes of the rows held while a stage runs, followed step by step without computing."""

    def weigh(node: fx.Node, height: int) -> int:
        return height * sizes[node].width * program.channels[node] * program.operators[node].dtype.itemsize

    held: dict[fx.Node, tuple[int, int]] = {}
    total = peak = 0

    def hold(node: fx.Node, top: int, bottom: int) -> None:
        nonlocal total
        old = held.pop(node, (0, 0))
        total -= weigh(node, old[1] - old[0])
        if bottom > top:
            held[node] = (top, bottom)
            total += weigh(node, bottom - top)

    waiting = set(stage.nodes)
    for band in schedule(program, stage, sizes, rows):
        before = peak
        for step in band.steps:
            top = held[step.node][0] if step.node in held else step.start
            hold(step.node, top, step.stop)
            peak = max(peak, int(total + (_WORKSPACE - 1) * weigh(step.node, step.stop - step.start)))
            for node, first in step.drops:
                hold(node, max(first, held[node][0]), held[node][1])
        for node, first in band.drops:
            hold(node, max(first, held[node][0]), held[node][1])
        waiting.difference_update(step.node for step in band.steps)
        if not waiting and peak == before:
            break  # all maps flow: the bands that follow are alike
    return peak


def _in_pieces(program: Program, image: Size, tile: int, live: int, spill: Path | None) -> Plan:
    height, width = (min(tile, -(-side // -(-side // tile))) for side in image)
    pieces = -(-image.height // tile) * -(-image.width // tile)
    costs = [piece_cost(program, stage, Size(height, width), image) for stage in program.stages]
    flops = tuple(pieces * flops for _, flops in costs)
    return Plan(tile, None, max(size for size, _ in costs), live, flops, spill)


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


def live_bytes(program: Program, image: Size) -> int:
    """Peak bytes of the maps kept whole between stages."""
    sizes = program.sizes(image)
    held = peak = 0
    for stage in program.stages:
        held += sum(_map_bytes(program, sizes, node) for node in stage.keeps)
        peak = max(peak, held)
        held -= sum(_map_bytes(program, sizes, node) for node in stage.frees)
    return peak


def _map_bytes(program: Program, sizes: dict[fx.Node, Size], node: fx.Node) -> int:
    size = sizes[node]
    return size.height * size.width * program.channels[node] * program.operators[node].dtype.itemsize


def spill_place(live: int, device: torch.device, free: int) -> Path:
    """The folder for `live` bytes of maps that are too many for `free` bytes of memory.

    Raises:
        PlanError: they do not fit on the disk either.
    """
    folder = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(folder).free
    if device.type != "cpu" or disk < live * 1.2:
        raise PlanError(
            f"this network keeps {live / 2**30:.1f} GiB of maps for this image, but {free / 2**30:.1f} GiB "
            f"of memory and {disk / 2**30:.1f} GiB of disk in {folder} are free; use a smaller image"
        )
    return folder
