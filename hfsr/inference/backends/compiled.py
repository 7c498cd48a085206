"""A network compiled for the size of an image: the program split for it, and the engine that runs it."""

from __future__ import annotations

import math
import time

import torch

from ..image_io.sources_and_sinks import TensorSink, TensorSource
from ..planning.planner import Plan
from ..planning.stage_segmentation import choose_segments, kept_bytes
from ..program.geometry import Size
from ..program.program import Program
from ..program.sized_program import SizedProgram
from .openvino import OpenVinoEngine
from .window_executor import WindowExecutor

__all__ = ["CompiledNetwork", "is_worth_compiling"]

_SAMPLE = Size(192, 192)
"""Size of the image on which a prediction is measured."""
_RUNS = 3
"""Runs on that image; the fastest counts."""
_WORTH_COMPILING = 2e12
"""Operations from which a run in floating point saves more time than importing and compiling take."""
_WORTH_COMPILING_INT8 = 2e11
"""The same for 8-bit integers, which torch only simulates."""


class CompiledNetwork:
    """Runs a network with OpenVINO.

    The memory of a network in one stage stays allocated until an image of another size comes: OpenVINO would
    return it to the system after every image, and accessing it anew takes up to a fifth of the time.

    Args:
        program: a lowered program.
        dtype: dtype of the arithmetic.
        quantized: True if its convolutions multiply 8-bit integers.
        device: device of the feature maps.
    """

    def __init__(
        self, program: Program, dtype: torch.dtype, *, quantized: bool, device: torch.device
    ) -> None:
        self._program = program
        self._itemsize = 1 if quantized else dtype.itemsize
        self._device = device
        self._engine = OpenVinoEngine(dtype)
        self._last: tuple[tuple[Size, int | None], SizedProgram, Plan] | None = None

    def plan(self, image: Size, tile: int | None) -> Plan:
        """Plans images of one size; calling it again with the same size compiles nothing.

        Args:
            image: size of the input.
            tile: largest side of the region that a tile owns; 0 for whole, None to choose.
        """
        return self._split(image, tile)[1]

    def executor(self, image: Size, tile: int | None) -> WindowExecutor:
        """Returns the executor for images of one size; `tile` as in `plan`."""
        sized, plan = self._split(image, tile)
        return WindowExecutor(
            self._engine,
            sized,
            plan.tile or max(image),
            self._device,
            stage_flops=plan.stage_flops,
            spill=plan.spill,
            keep_memory=len(sized.stages) == 1 and plan.part_bytes <= kept_bytes(self._device),
        )

    def seconds(self, plan: Plan) -> float:
        """Predicts the seconds of a run by a plan, from runs on a small image; halos count."""
        sample = self.plan(_SAMPLE, 0)
        source = TensorSource(torch.zeros(1, 3, *_SAMPLE), self._device)
        result = SizedProgram(self._program, _SAMPLE).sizes[self._program.output]
        elapsed = math.inf
        for _ in range(_RUNS):  # the first one compiles
            started = time.perf_counter()
            for _ in self.executor(_SAMPLE, 0).run(source, TensorSink(torch.empty(1, 3, *result))):
                pass
            elapsed = min(elapsed, time.perf_counter() - started)
        return elapsed * plan.flops / sample.flops

    def _split(self, image: Size, tile: int | None) -> tuple[SizedProgram, Plan]:
        if self._last is None or self._last[0] != (image, tile):
            self._engine.forget()
            found = choose_segments(
                SizedProgram(self._program, image),
                itemsize=self._itemsize,
                device=self._device,
                tile=max(image) if tile == 0 else tile,
            )
            self._last = ((image, tile), *found)
        return self._last[1:]


def is_worth_compiling(plan: Plan, *, quantized: bool) -> bool:
    """Returns True if an image takes long enough for compilation to save time."""
    return plan.flops >= (_WORTH_COMPILING_INT8 if quantized else _WORTH_COMPILING)
