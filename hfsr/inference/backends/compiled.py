"""A network compiled for the size of an image: the program split for it, and the engine that runs it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..execution.executor import Executor
from ..execution.whole_executor import WholeExecutor
from ..image_io.sources_and_sinks import TensorSink, TensorSource
from ..planning.cost_model import tile_cost
from ..planning.planner import Plan
from ..planning.stage_segmentation import choose_segments, kept_bytes
from ..program.geometry import Size
from ..program.program import Program, Stage
from ..program.sized_program import SizedProgram
from .openvino import OpenVinoEngine
from .window_executor import StageIO, WindowExecutor

__all__ = ["CompiledNetwork", "is_worth_compiling"]

_TRACED = Size(64, 64)
"""Size of the image with which a whole network is traced: a multiple of the sizes that networks pad to."""
_SAMPLE = Size(192, 192)
"""Size of the image on which a prediction is measured."""
_RUNS = 3
"""Runs on that image; the fastest counts."""
_WORTH_COMPILING = 2e12
"""Operations from which a run in floating point saves more time than importing and compiling take."""
_WORTH_COMPILING_INT8 = 2e11
"""The same for 8-bit integers, which torch only simulates."""


class _Layout(NamedTuple):
    """How images of one size run; decided once, because the free memory changes from image to image."""

    sized: SizedProgram
    plan: Plan
    is_whole: bool
    keeps_memory: bool


class CompiledNetwork:
    """Runs a network with OpenVINO.

    A pooled network runs whole if its feature maps fit into a share of the memory, otherwise stage by stage.
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
        self._last: tuple[tuple[Size, int | None], _Layout] | None = None

    def is_fast(self, image: Size, tile: int | None) -> bool:
        """Returns True where OpenVINO is as fast as torch or faster.

        The stages of a pooled network, compiled separately, with their feature maps copied window by window,
        take longer than torch (A2N 1.8 times, RCAN more).
        """
        if self._program.kind == "local":
            return True
        if self._last is not None and self._last[0] == (image, tile):
            return self._last[1].is_whole
        return self._whole_plan(image, tile) is not None

    def plan(self, image: Size, tile: int | None) -> Plan:
        """Plans images of one size; calling it again with the same size compiles nothing.

        Args:
            image: size of the input.
            tile: largest side of the region that a tile owns; 0 for whole, None to choose.
        """
        return self._layout(image, tile).plan

    def executor(self, image: Size, tile: int | None) -> Executor:
        """Returns the executor for images of one size; `tile` as in `plan`."""
        layout = self._layout(image, tile)
        sized, plan = layout.sized, layout.plan
        if layout.is_whole:
            return WholeExecutor(self._compile_whole(sized), sized.sizes[sized.program.output])
        return WindowExecutor(
            self._engine,
            sized,
            plan.tile or max(image),
            self._device,
            stage_flops=plan.stage_flops,
            spill=plan.spill,
            keep_memory=layout.keeps_memory,
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

    def _layout(self, image: Size, tile: int | None) -> _Layout:
        if self._last is None or self._last[0] != (image, tile):
            self._engine.forget()
            self._last = ((image, tile), self._lay_out(image, tile))
        return self._last[1]

    def _lay_out(self, image: Size, tile: int | None) -> _Layout:
        sized = SizedProgram(self._program, image)
        if (whole := self._whole_plan(image, tile)) is not None:
            return _Layout(sized, whole, is_whole=True, keeps_memory=True)
        sized, plan = choose_segments(
            sized, itemsize=self._itemsize, device=self._device, tile=max(image) if tile == 0 else tile
        )
        keeps = len(sized.stages) == 1 and plan.part_bytes <= kept_bytes(self._device)
        return _Layout(sized, plan, is_whole=False, keeps_memory=keeps)

    def _whole_plan(self, image: Size, tile: int | None) -> Plan | None:
        """Returns the plan of a pooled network that runs whole and keeps its memory; None if it must not."""
        if self._program.kind != "pooled" or tile:
            return None
        sized = SizedProgram(self._program, image)
        peak, flops = tile_cost(sized, Stage(list(self._program.operators)), image)
        return Plan(max(image), None, peak, 0, (flops,)) if peak <= kept_bytes(self._device) else None

    def _compile_whole(self, sized: SizedProgram) -> Callable[[Tensor], Tensor]:
        """Returns the network compiled for one size, global pools included."""
        program = self._program
        result = sized.sizes[program.output]
        io = StageIO([program.source], [sized.image], [_TRACED], {}, [program.output], [result])
        constants = ("placeholder", "get_attr", "output")
        nodes = [node for node in program.module.graph.nodes if node.op not in constants]
        run = self._engine.compile(program, Stage(nodes), io)
        return lambda x: run([x])[0]


def is_worth_compiling(plan: Plan, *, quantized: bool) -> bool:
    """Returns True if an image takes long enough for compilation to save time."""
    return plan.flops >= (_WORTH_COMPILING_INT8 if quantized else _WORTH_COMPILING)
