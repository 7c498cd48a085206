"""Prediction of peak memory and time for `--dry-run`, before an image is run.

Memory is computed from the plan. Time is measured: each distinct operator of the network runs once on a band
of its actual size, and its time is multiplied by the number of bands. On a CPU the caches are flushed before,
because other bands pass through them between two uses.
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

from hfsr.images.encoding.png_writer import PngWriter

from ..program.geometry import Region, Size
from ..program.operators import Convolution, TransposedConvolution
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from ..runtime.accelerator import synchronize
from ..scheduling.band_heights import BandHeights, choose_band_heights, wide_nodes
from .planner import Plan

__all__ = ["Forecast", "predict_encoding_seconds", "predict_peak_memory", "predict_run_seconds"]

_SPREAD = 1.3
"""Ratio of a run's memory to that of its tensors: the heap is fragmented."""
_FIXED = 112 << 20
"""Bytes of the arithmetic and image libraries after their first use."""
_REPEATS, _ENOUGH = 3, 0.3
"""Maximum repetitions of an operator, and the seconds after which they end; the median counts."""
_UNCACHED = 96 << 20
"""Bytes of a copy that replaces the whole content of a CPU's caches."""
_DECODED = 7
"""Bytes per px of the input while it is read: four in Pillow, three in the array."""
_BAND = 10 << 20
"""Bytes of a band on which operators are timed if the plan is in tiles."""
_SAMPLE = (256, 1024)
"""Height and width in px of the image whose encoding is timed."""


@dataclass(frozen=True)
class Forecast:
    """Predicted memory and time of an image.

    Attributes:
        peak_bytes: peak memory, of the process on a CPU, allocated on a GPU.
        seconds: time from file to PNG.
        flops: floating-point operations of the networks.
    """

    peak_bytes: int
    seconds: float
    flops: float


def predict_peak_memory(plan_bytes: int, resident: int, image: Size, result: Size, *, on_cpu: bool) -> int:
    """Returns the peak bytes of a run from file to file.

    Args:
        plan_bytes: memory of the plan.
        resident: bytes that the process occupies before the run.
        image: size of the input.
        result: size of the result.
        on_cpu: True if the network runs on the CPU; otherwise only memory on the device counts.
    """
    if not on_cpu:
        return int(plan_bytes * _SPREAD)
    reading = _DECODED * image.height * image.width
    running = 3 * image.height * image.width + plan_bytes + _FIXED
    return resident + max(reading, running)


def predict_run_seconds(sized: SizedProgram, plan: Plan, device: torch.device) -> float:
    """Returns the seconds of the arithmetic, from one measurement of every distinct operator.

    Args:
        sized: a program lowered to `device`.
        plan: plan of the run; halos of tiles count by their operations.
        device: device of the run.
    """
    timer = _OperatorTimer(sized, device)
    once = 0.0
    for index, stage in enumerate(sized.stages):
        heights = plan.bands[index] if plan.bands else choose_band_heights(sized, stage, _BAND)
        once += timer.stage_seconds(stage, heights)
    flops = sized.total_flops
    return once * max(1.0, plan.flops / flops) if flops else once


def predict_encoding_seconds(result: Size) -> float:
    """Estimates the seconds to encode a PNG of this size, from a small image with smooth colors and noise."""
    height, width = _SAMPLE
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    rows = (np.linspace(40, 200, width)[None, :, None] + noise).astype(np.uint8)
    started = time.perf_counter()
    writer = PngWriter(io.BytesIO(), width, height, channels=3, bits=8)
    writer.write(rows)
    writer.close()
    return (time.perf_counter() - started) * result.height * result.width / (height * width)


class _OperatorTimer:
    """Times operators on zeros, each distinct one once; implements `OperatorInputs`."""

    def __init__(self, sized: SizedProgram, device: torch.device) -> None:
        self._sized = sized
        self._device = device
        self._modules = dict(sized.program.module.named_modules())
        self._parts: dict[tuple[object, ...], Tensor] = {}
        self._seconds_per_row: dict[tuple[object, ...], float] = {}
        self._flushed = torch.zeros(_UNCACHED if device.type == "cpu" else 0, dtype=torch.uint8)

    def stage_seconds(self, stage: Stage, heights: BandHeights) -> float:
        """Returns the seconds of a stage for the whole image."""
        height, wide = self._sized.image.height, wide_nodes(self._sized, stage)
        total = 0.0
        for node in stage.nodes:
            size = self._sized.sizes[node]
            rows = max(1, (heights.wide if node in wide else heights.rows) * size.height // height)
            total += self._measure(node, min(rows, size.height)) * size.height
        return total

    def _measure(self, node: fx.Node, rows: int) -> float:
        """Returns the seconds per row of an operator on a band of `rows` rows."""
        size = self._sized.sizes[node]
        key = (*self._kind(node), size.width, rows)
        if key not in self._seconds_per_row:
            top = (size.height - rows) // 2
            run = self._call(node, Region(top, top + rows, 0, size.width))
            run()
            self._seconds_per_row[key] = self._time(run) / rows
            self._parts.clear()  # a forecast must not take more memory than the run
        return self._seconds_per_row[key]

    def _call(self, node: fx.Node, region: Region) -> Callable[[], Tensor]:
        """Returns a function that computes a region as the run does, into given memory if windows read it."""
        op, operators = self._sized.operators[node], self._sized.operators
        users = [user for user in node.users if user in operators]
        if all(operators[user].rows.input_range(0, 1) == (0, 1) for user in users):
            return lambda: op.run(region, self)
        out = self._zeros(node, region)

        def run_into() -> Tensor:
            op.run_into(region, self, out)
            return out

        return run_into

    def _time(self, run: Callable[[], Tensor]) -> float:
        """Returns the median seconds of a call."""
        found: list[float] = []
        results: list[Tensor] = []  # held, because each output of a run has memory of its own
        while len(found) < _REPEATS and sum(found) < _ENOUGH:
            self._flush_caches()
            synchronize(self._device)
            started = time.perf_counter()
            results.append(run())
            synchronize(self._device)
            found.append(time.perf_counter() - started)
        return statistics.median(found)

    def _flush_caches(self) -> None:
        if self._device.type == "cpu":
            self._flushed.add_(1)

    def _kind(self, node: fx.Node) -> tuple[object, ...]:
        """Returns a key that is equal for operators that take the same time on a band of the same size."""
        op, program = self._sized.operators[node], self._sized.program
        detail: object = str(node.target) if node.op != "call_module" else None
        if isinstance(op, (Convolution, TransposedConvolution)):
            conv = op.conv
            detail = (conv.kernel_size, conv.stride, conv.dilation, conv.groups)
        elif node.op == "call_module":
            detail = type(self._modules[str(node.target)]).__name__
        channels = tuple(program.channels[source] for source in op.sources)
        return (type(op).__name__, detail, channels, program.channels[node], op.compute_dtype, op.dtype)

    # Inputs of operators

    def size(self, node: fx.Node) -> Size:
        return self._sized.sizes[node]

    def feature(self, node: fx.Node, region: Region) -> Tensor:
        key = (self._sized.program.channels[node], self._sized.dtype(node), region.height, region.width)
        if key not in self._parts:
            self._parts[key] = self._zeros(node, region)
        return self._parts[key]

    def value(self, node: fx.Node) -> Tensor:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(self._modules[owner], name).detach()
        return torch.zeros(1, self._pooled_channels(node), 1, 1, device=self._device)

    def _pooled_channels(self, node: fx.Node) -> int:
        """Returns the channels of the nearest feature map from which a vector is computed; 1 if none.

        The search is breadth first: a deep network has too many paths to its input to follow each.
        """
        channels, level = self._sized.program.channels, [node]
        while level:
            for each in level:
                if each in channels:
                    return channels[each]
            level = list(dict.fromkeys(source for each in level for source in each.all_input_nodes))
        return 1

    def _zeros(self, node: fx.Node, region: Region) -> Tensor:
        shape = (1, self._sized.program.channels[node], region.height, region.width)
        part = torch.zeros(shape, dtype=self._sized.dtype(node), device=self._device)
        return part.contiguous(memory_format=torch.channels_last)
