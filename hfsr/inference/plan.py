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

__all__ = ["Plan", "free_memory", "make_plan"]

_CANDIDATES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_MIDDLE = 1 << 19
_FAR = Size(1 << 20, 1 << 20)
_WORKSPACE = 1.25
"""What a convolution takes beyond its input and output, as a factor on both."""
_CPU_PIECE_BYTES = 512 << 20
"""On a CPU larger pieces leave the caches and win nothing but a smaller halo."""
_USABLE = 0.6
"""Share of the free memory that a run may take."""


@dataclass(frozen=True)
class Plan:
    """How one image will be run.

    Attributes:
        tile: largest side of what one piece owns, in LR px.
        piece_bytes: peak memory of one piece.
        live_bytes: peak memory of the maps kept between stages.
        flops: floating-point operations of all pieces, halo included.
        stage_flops: the same per stage and piece, for an estimate of the time left.
        spill: folder for the live maps when they do not fit into memory, else None.
    """

    tile: int
    piece_bytes: int
    live_bytes: int
    flops: float
    stage_flops: tuple[float, ...]
    spill: Path | None = None

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


def make_plan(program: Program, image: Size, device: torch.device, tile: int | None = None) -> Plan:
    """Plans one image. `tile` None picks the piece size that costs the least time within the free memory.

    Raises:
        PlanError: not even the smallest piece, or not the live maps, fit into memory and disk.
    """
    free = int(free_memory(device) * _USABLE)
    live = _live_bytes(program, image)
    spill = None
    if live > free // 2:
        spill = _spill_folder(live, device, free)
        live_in_memory = 0
    else:
        live_in_memory = live
    budget = free - live_in_memory
    if device.type == "cpu":
        budget = min(budget, _CPU_PIECE_BYTES)
    if tile is not None:
        return _plan(program, image, tile, live, spill)
    sensible = [t for t in _CANDIDATES if t < 2 * max(image)] or [_CANDIDATES[0]]
    plans = [_plan(program, image, t, live, spill) for t in sensible]
    fitting = [plan for plan in plans if plan.piece_bytes <= budget] or plans[:1]
    return min(fitting, key=lambda plan: plan.flops)


def _plan(program: Program, image: Size, tile: int, live: int, spill: Path | None) -> Plan:
    height, width = (min(tile, -(-side // -(-side // tile))) for side in image)
    pieces = -(-image.height // tile) * -(-image.width // tile)
    costs = [_piece(program, stage, Size(height, width), image) for stage in program.stages]
    return Plan(
        tile=tile,
        piece_bytes=max(size for size, _ in costs),
        live_bytes=live,
        flops=pieces * sum(flops for _, flops in costs),
        stage_flops=tuple(flops for _, flops in costs),
        spill=spill,
    )


def _piece(program: Program, stage: Stage, piece: Size, image: Size) -> tuple[int, float]:
    """Peak bytes and floating-point operations of one piece of one stage, away from the border where it can
    be.
    """
    limits = program.sizes(image)
    sizes = program.sizes(_FAR)
    region = Region(_MIDDLE, _MIDDLE + piece.height, _MIDDLE, _MIDDLE + piece.width)
    owned = {node: region.scaled(_FAR, sizes[node]) for node in program.targets(stage)}
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


def _live_bytes(program: Program, image: Size) -> int:
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


def _spill_folder(live: int, device: torch.device, free: int) -> Path:
    folder = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(folder).free
    if device.type != "cpu" or disk < live * 1.2:
        raise PlanError(
            f"this network keeps {live / 2**30:.1f} GiB of maps for this image, but {free / 2**30:.1f} GiB "
            f"of memory and {disk / 2**30:.1f} GiB of disk in {folder} are free; use a smaller image"
        )
    return folder
