"""Chooses how an image is run: what that costs in memory and arithmetic, and what the machine has free."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from hfsr.errors import PlanError

from ..program.geometry import Size
from ..program.program import Program
from ..runtime.memory import free_memory
from ..scheduling.row_schedule import BandHeights, choose_band_heights
from .cost_model import live_bytes, piece_cost, rows_bytes, stage_flops

__all__ = ["Plan", "free_memory", "live_bytes", "make_plan", "piece_cost", "spill_place", "usable_memory"]

_TILES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_BAND_BYTES = {"cpu": 10 << 20, "cuda": 256 << 20}
"""Bytes of a map's band past which nothing is won: the arithmetic is busy, and on a CPU caches overflow."""
_USABLE = 0.6
"""Share of the free memory that a run may take."""
_SPILLED = 16 << 20
"""Bytes up to which a live map stays in memory in any case."""


@dataclass(frozen=True)
class Plan:
    """How one image will be run: in pieces (`tile`) or as a stream of rows (`rows`), one of the two.

    Attributes:
        tile: largest side of what one piece owns, in LR px.
        rows: height of the highest band, in LR px.
        part_bytes: peak memory of what is held while a stage runs.
        live_bytes: peak memory of the maps kept whole between stages.
        stage_flops: floating-point operations per stage, for an estimate of the time left.
        spill: where live maps go that do not fit into memory: a folder, "host" beside a GPU, else None.
        bands: of each stage, when it is run as a stream of rows.
    """

    tile: int | None
    rows: int | None
    part_bytes: int
    live_bytes: int
    stage_flops: tuple[float, ...]
    spill: Path | str | None = None
    bands: tuple[BandHeights, ...] = ()

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole run."""
        return sum(self.stage_flops)

    @property
    def parts(self) -> str:
        """In words: "pieces of 256 px" or "bands of 32 rows"."""
        return f"bands of {self.rows} rows" if self.rows else f"pieces of {self.tile} px"

    @property
    def memory_bytes(self) -> int:
        """Memory that the run holds on its device: what is spilled does not count."""
        return self.part_bytes + (0 if self.spill else self.live_bytes)

    def spill_folder(self, size: int) -> Path | str | None:
        """Where a live map of `size` bytes goes: a folder, "host", or None for the device."""
        return self.spill if size > _SPILLED else None


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
    if tile is not None:
        return _in_pieces(program, image, tile, *_live(program, image, device, free))
    live, spill = _live(program, image, device, free, in_place=True)
    budget = free if spill else free - live
    limit = _BAND_BYTES[device.type]
    while True:
        plan = _in_rows(program, image, limit, live, spill)
        if plan.part_bytes <= budget:
            return plan
        if plan.rows == 1:
            break
        limit //= 2
    live, spill = _live(program, image, device, free)
    budget = free if spill else free - live
    sensible = [t for t in _TILES if t < 2 * max(image)] or [_TILES[0]]
    plans = [_in_pieces(program, image, t, live, spill) for t in sensible]
    fitting = [plan for plan in plans if plan.part_bytes <= budget] or plans[:1]
    return min(fitting, key=lambda plan: plan.flops)


def _in_rows(program: Program, image: Size, limit: int, live: int, spill: Path | str | None) -> Plan:
    sizes = program.sizes(image)
    flops = tuple(stage_flops(program, stage, sizes) for stage in program.stages)
    bands = tuple(choose_band_heights(program, stage, sizes, limit) for stage in program.stages)
    peak = max(rows_bytes(program, s, sizes, b) for s, b in zip(program.stages, bands, strict=True))
    return Plan(None, max(b.rows for b in bands), peak, live, flops, spill, bands)


def _in_pieces(program: Program, image: Size, tile: int, live: int, spill: Path | str | None) -> Plan:
    height, width = (min(tile, -(-side // -(-side // tile))) for side in image)
    pieces = -(-image.height // tile) * -(-image.width // tile)
    costs = [piece_cost(program, stage, Size(height, width), image) for stage in program.stages]
    flops = tuple(pieces * flops for _, flops in costs)
    return Plan(tile, None, max(size for size, _ in costs), live, flops, spill)


def _live(
    program: Program, image: Size, device: torch.device, free: int, *, in_place: bool = False
) -> tuple[int, Path | str | None]:
    """Bytes of the live maps, and where they go when they are more than half of `free`."""
    live = live_bytes(program, image, in_place=in_place)
    return live, spill_place(live, device, free) if live > free // 2 else None


def spill_place(live: int, device: torch.device, free: int) -> Path | str:
    """Where `live` bytes of maps go that are too many for `free` bytes of memory: a folder, or "host".

    Raises:
        PlanError: they do not fit there either.
    """
    if device.type == "cuda" and live <= usable_memory(torch.device("cpu")):
        return "host"
    folder = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(folder).free
    if device.type != "cpu" or disk < live * 1.2:
        raise PlanError(
            f"this network keeps {live / 2**30:.1f} GiB of maps for this image, but {free / 2**30:.1f} GiB "
            f"of memory and {disk / 2**30:.1f} GiB of disk in {folder} are free; use a smaller image"
        )
    return folder
