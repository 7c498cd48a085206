"""Choice of the band heights or tile size of an image, from memory, arithmetic and the free memory."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from hfsr.errors import PlanError

from ..program.geometry import Size
from ..program.sized_program import SizedProgram
from ..runtime.memory import planned_memory
from ..scheduling.band_heights import BandHeights, choose_band_heights
from .cost_model import live_bytes, row_peak_bytes, tile_cost

__all__ = ["Plan", "make_plan", "spill_place", "usable_memory"]

_TILES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_BAND_BYTES = {"cpu": 10 << 20, "cuda": 256 << 20, "mps": 256 << 20, "xpu": 256 << 20}
"""Bytes of a band of one feature map: larger bands gain nothing, and overflow the caches of a CPU."""
_USABLE = 0.6
"""Share of the free memory that a run may take."""


@dataclass(frozen=True)
class Plan:
    """Tile size or band heights of one image, with memory and arithmetic.

    Attributes:
        tile: largest side of the region that a tile owns, LR px; 0 for the whole image, None in rows.
        rows: height of the highest band, LR px; None in tiles.
        part_bytes: peak memory held while a stage runs.
        live_bytes: peak memory of the live feature maps.
        stage_flops: floating-point operations of each stage.
        spill: destination of live feature maps that do not fit into memory: a folder, "host" for the memory
            of the CPU beside a GPU, or None.
        bands: band heights of each stage; empty in tiles.
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
        """Description: "tiles of 256 px", "bands of 32 rows", or "the whole image"."""
        if self.tile == 0:
            return "the whole image"
        return f"bands of {self.rows} rows" if self.rows else f"tiles of {self.tile} px"

    @property
    def memory_bytes(self) -> int:
        """Peak memory on the device, without what is spilled."""
        return self.part_bytes + (0 if self.spill else self.live_bytes)


def usable_memory(device: torch.device) -> int:
    """Returns the bytes of the free memory that a run may take."""
    return int(planned_memory(device) * _USABLE)


def make_plan(sized: SizedProgram, device: torch.device, tile: int | None = None) -> Plan:
    """Plans one image: in tiles of `tile` px if given, otherwise the fastest way that fits into memory.

    Execution in rows computes every px once; it is chosen if a few rows of every feature map fit.

    Raises:
        PlanError: the live feature maps fit neither into memory nor on the disk.
    """
    free = usable_memory(device)
    if tile is not None:
        return _plan_tiles(sized, tile, *_live(sized, device, free))
    live, spill = _live(sized, device, free, reuse=True)
    budget = free if spill else free - live
    limit = _BAND_BYTES[device.type]
    while True:
        plan = _plan_rows(sized, limit, live, spill)
        if plan.part_bytes <= budget:
            return plan
        if plan.rows == 1:
            break
        limit //= 2
    live, spill = _live(sized, device, free)
    budget = free if spill else free - live
    sensible = [t for t in _TILES if t < 2 * max(sized.image)] or [_TILES[0]]
    plans = [_plan_tiles(sized, t, live, spill) for t in sensible]
    fitting = [plan for plan in plans if plan.part_bytes <= budget] or plans[:1]
    return min(fitting, key=lambda plan: plan.flops)


def _plan_rows(sized: SizedProgram, limit: int, live: int, spill: Path | str | None) -> Plan:
    flops = tuple(sized.stage_flops(stage) for stage in sized.stages)
    bands = tuple(choose_band_heights(sized, stage, limit) for stage in sized.stages)
    peak = max(row_peak_bytes(sized, s, b) for s, b in zip(sized.stages, bands, strict=True))
    return Plan(None, max(b.rows for b in bands), peak, live, flops, spill, bands)


def _plan_tiles(sized: SizedProgram, tile: int, live: int, spill: Path | str | None) -> Plan:
    image = sized.image
    height, width = (min(tile, -(-side // -(-side // tile))) for side in image)
    count = -(-image.height // tile) * -(-image.width // tile)
    costs = [tile_cost(sized, stage, Size(height, width)) for stage in sized.stages]
    flops = tuple(count * flops for _, flops in costs)
    return Plan(tile, None, max(size for size, _ in costs), live, flops, spill)


def _live(
    sized: SizedProgram, device: torch.device, free: int, *, reuse: bool = False
) -> tuple[int, Path | str | None]:
    """Returns the bytes of the live feature maps, and their destination if they exceed half of `free`."""
    live = live_bytes(sized, reuse=reuse)
    return live, spill_place(live, device, free) if live > free // 2 else None


def spill_place(live: int, device: torch.device, free: int) -> Path | str:
    """Returns the destination of `live` bytes of feature maps that exceed memory: a folder, or "host".

    Raises:
        PlanError: they do not fit there either.
    """
    if device.type in ("cuda", "xpu") and live <= usable_memory(torch.device("cpu")):
        return "host"
    folder = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(folder).free
    if device.type != "cpu" or disk < live * 1.2:
        raise PlanError(
            f"this network keeps {live / 2**30:.1f} GiB of feature maps for this image, but "
            f"{free / 2**30:.1f} GiB of memory and {disk / 2**30:.1f} GiB of disk in {folder} are free; "
            "use a smaller image"
        )
    return folder
