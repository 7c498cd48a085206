"""How much memory and time a picture will take on this machine, before it is run.

Memory is counted. Time is measured: each distinct operator of the network runs once on a band as high and
wide as it will see, and the picture takes as often that as it has such bands. On a CPU its caches are emptied
before: between two uses of a band others go through them.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from hfsr.images.png import PngWriter

from ..program.geometry import Region, Size
from ..program.operators import Convolution, Operator, TransposedConvolution
from ..program.program import Program, Stage
from ..scheduling.row_schedule import BandHeights, choose_band_heights, wide_nodes
from .cost_model import stage_flops
from .planner import Plan

__all__ = ["Forecast", "predict_encoding_seconds", "predict_peak_memory", "predict_run_seconds"]

_SPREAD = 1.3
"""Memory of a part by what its tensors take: the heap has holes."""
_FIXED = 112 << 20
"""What the libraries of the arithmetic and of the pictures take once they have run."""
_REPEATS, _ENOUGH = 3, 0.3
"""An operator is timed so often, or until that took so many seconds; the median counts."""
_UNCACHED = 96 << 20
"""Bytes of a copy after which no cache of a CPU holds anything else."""
_DECODED = 7
"""Bytes per px of the input while it is read: Pillow's four, and three of ours."""
_BAND = 10 << 20
"""Bytes of a band on which operators are timed when the plan has pieces."""
_SAMPLE = (256, 1024)
"""Height and width in px of what is encoded to see how long that takes."""


@dataclass(frozen=True)
class Forecast:
    """What a picture will take.

    Attributes:
        peak_bytes: most memory, of the process on a CPU, of what is allocated on a GPU.
        seconds: from file to PNG.
    """

    peak_bytes: int
    seconds: float


def predict_peak_memory(plan_bytes: int, resident: int, image: Size, result: Size, *, on_cpu: bool) -> int:
    """Peak bytes of a run from file to file.

    Args:
        plan_bytes: what the plan says is held while it runs.
        resident: bytes that the process holds before.
        image: size of the input.
        result: size of the result.
        on_cpu: whether the network runs there; else only what is on the device counts.
    """
    if not on_cpu:
        return int(plan_bytes * _SPREAD)
    reading = _DECODED * image.height * image.width
    running = 3 * image.height * image.width + plan_bytes + _FIXED
    return resident + max(reading, running)


def predict_run_seconds(program: Program, plan: Plan, image: Size, device: torch.device) -> float:
    """Seconds of the arithmetic, from one measurement of every distinct operator.

    Args:
        program: prepared for `device`.
        plan: how it will run; halos of pieces count by their operations.
    """
    sizes = program.sizes(image)
    bench = _Bench(program, sizes, device)
    once = 0.0
    for index, stage in enumerate(program.stages):
        bands = plan.bands[index] if plan.bands else choose_band_heights(program, stage, sizes, _BAND)
        once += bench.seconds(stage, bands)
    own = sum(stage_flops(program, stage, sizes) for stage in program.stages)
    return once * max(1.0, plan.flops / own) if own else once


def predict_encoding_seconds(result: Size) -> float:
    """Seconds that it takes to quantise and encode a PNG of this size: one of smooth colours with some noise
    is encoded to see.
    """
    height, width = _SAMPLE
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    rows = (np.linspace(40, 200, width)[None, :, None] + noise).astype(np.uint8)
    started = time.perf_counter()
    writer = PngWriter(io.BytesIO(), width, height, channels=3, bits=8)
    writer.write(rows)
    writer.close()
    return (time.perf_counter() - started) * result.height * result.width / (height * width)


class _Bench:
    """Runs operators on zeros, each kind once; their inputs are made up (see `OperatorInputs`)."""

    def __init__(self, program: Program, sizes: dict[fx.Node, Size], device: torch.device) -> None:
        self._program = program
        self._sizes = sizes
        self._device = device
        self._modules = dict(program.module.named_modules())
        self._parts: dict[tuple[object, ...], Tensor] = {}
        self._rates: dict[tuple[object, ...], float] = {}
        self._other = torch.zeros(_UNCACHED if device.type == "cpu" else 0, dtype=torch.uint8)

    def seconds(self, stage: Stage, bands: BandHeights) -> float:
        """Seconds of a stage for the whole image."""
        height = self._sizes[self._program.source].height
        total, wide = 0.0, wide_nodes(self._program, stage, self._sizes)
        for node in stage.nodes:
            rows = max(1, (bands.wide if node in wide else bands.rows) * self._sizes[node].height // height)
            total += self._seconds_per_row(node, rows) * self._sizes[node].height
        return total

    def _seconds_per_row(self, node: fx.Node, rows: int) -> float:
        op, size = self._program.operators[node], self._sizes[node]
        key = (*_kind(op, self._program), size.width, rows)
        if key not in self._rates:
            top = (size.height - min(rows, size.height)) // 2
            region = Region(top, top + min(rows, size.height), 0, size.width)
            joins = any(
                self._program.operators[u].rows.input_range(0, 1) != (0, 1) for u in self._readers(node)
            )
            out = self._new(node, region) if joins else None

            def run() -> Tensor:
                if out is None:
                    return op.run(region, self)
                op.run_into(region, self, out)
                return out

            run()
            self._rates[key] = self._timed(run) / region.height
            self._parts.clear()  # a forecast must not take more memory than what it foretells
        return self._rates[key]

    def _readers(self, node: fx.Node) -> list[fx.Node]:
        return [user for user in node.users if user in self._program.operators]

    def _timed(self, run: Callable[[], Tensor]) -> float:
        found: list[float] = []
        results: list[Tensor] = []  # held, as those of a run are: each needs memory of its own
        while len(found) < _REPEATS and sum(found) < _ENOUGH:
            self._empty_caches()
            self._wait()
            started = time.perf_counter()
            results.append(run())
            self._wait()
            found.append(time.perf_counter() - started)
        return statistics.median(found)

    def _empty_caches(self) -> None:
        if self._device.type == "cpu":
            self._other.add_(1)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    # What operators ask for

    def size(self, node: fx.Node) -> Size:
        return self._sizes[node]

    def feature(self, node: fx.Node, region: Region) -> Tensor:
        key = (self._program.channels[node], self._program.dtype(node), region.height, region.width)
        if key not in self._parts:
            self._parts[key] = self._new(node, region)
        return self._parts[key]

    def value(self, node: fx.Node) -> Tensor:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(self._modules[owner], name).detach()
        return torch.zeros(1, self._channels_under(node), 1, 1, device=self._device)

    def _channels_under(self, node: fx.Node) -> int:
        """Those of the map that a vector was pooled from, the nearest one before it: a deep network has more
        paths to its beginning than can be walked. 1 for what is made from parameters alone.
        """
        level = [node]
        while level:
            for each in level:
                if each in self._program.channels:
                    return self._program.channels[each]
            level = list(dict.fromkeys(source for each in level for source in each.all_input_nodes))
        return 1

    def _new(self, node: fx.Node, region: Region) -> Tensor:
        shape = (1, self._program.channels[node], region.height, region.width)
        part = torch.zeros(shape, dtype=self._program.dtype(node), device=self._device)
        return part.contiguous(memory_format=torch.channels_last)


def _kind(op: Operator, program: Program) -> tuple[object, ...]:
    """Alike for operators that take the same time on a band of the same size."""
    detail: object = str(op.node.target) if op.node.op != "call_module" else None
    if isinstance(op, (Convolution, TransposedConvolution)):
        conv = op.conv
        detail = (conv.kernel_size, conv.stride, conv.dilation, conv.groups)
    elif op.node.op == "call_module":
        detail = type(program.module.get_submodule(str(op.node.target))).__name__
    channels = tuple(program.channels[source] for source in op.sources)
    return (type(op).__name__, detail, channels, program.channels[op.node], op.compute_dtype, op.dtype)
