"""A network compiled for the size of an image: the program split for it, and the engine that runs it."""

from __future__ import annotations

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
from ..planning.stage_segmentation import choose_segments
from ..program.geometry import Size
from ..program.program import Program, Stage
from ..program.sized_program import SizedProgram
from .kept_memory import keep, kept_bytes
from .openvino import OpenVinoEngine
from .window_executor import StageIO, WindowExecutor

__all__ = ["CompiledNetwork", "is_worth_compiling"]

_TRACED = Size(64, 64)
"""Size of the image with which a whole network is traced: a multiple of the sizes that networks pad to."""
_SAMPLES = (192, 128, 64)
"""Sides of the images on which a prediction is measured; the largest with at most `_ENOUGH` operations."""
_ENOUGH = 1e11
_RUNS = 3
"""Runs on that image; the fastest counts."""
_WORTH_COMPILING = 2e12
"""Operations from which a run in floating point saves more time than importing and compiling take."""
_WORTH_COMPILING_INT8 = 2e11
"""The same for 8-bit integers, which torch only simulates."""


class _Layout(NamedTuple):
    """Execution of images of one size, decided once, because the free memory changes from image to image."""

    sized: SizedProgram
    plan: Plan
    is_whole: bool
    keeps_memory: bool


class CompiledNetwork:
    """Runs a network with OpenVINO.

    A pooled network runs whole if its feature maps fit into a share of the memory, otherwise stage by stage.
    The memory of a network in one stage stays allocated for the next image (see `kept_memory`).

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
        self._rates: dict[bool, float] = {}  # operations per second; True: as a whole

    def has_plan(self, image: Size, tile: int | None) -> bool:
        """Returns True if the last image had the same size and `tile`."""
        return self._last is not None and self._last[0] == (image, tile)

    def plan(self, image: Size, tile: int | None) -> Plan:
        """Plans images of one size; calling it again with the same size compiles nothing.

        Args:
            image: size of the input.
            tile: largest side of the region that a tile owns; 0 for whole, None to choose.
        """
        return self._layout(image, tile).plan

    def executor(self, image: Size, tile: int | None) -> Executor:
        """Returns the executor for images of one size; `tile` as in `plan`."""
        return self._executor(self._layout(image, tile))

    def seconds(self, plan: Plan) -> float:
        """Predicts the seconds of a run by a plan, from a run on a small image; halos count."""
        is_whole = self._last is not None and self._last[1].is_whole
        if is_whole not in self._rates:
            self._rates[is_whole] = self._measure(is_whole=is_whole)
        return plan.flops / self._rates[is_whole]

    def _measure(self, *, is_whole: bool) -> float:
        """Returns the operations per second of this network, whole or in windows, on a small image."""
        sized = [SizedProgram(self._program, Size(side, side)) for side in _SAMPLES]
        chosen = next((each for each in sized if each.total_flops <= _ENOUGH), sized[-1])
        if is_whole:
            layout = _Layout(
                chosen, Plan(0, None, 0, 0, (chosen.total_flops,)), is_whole=True, keeps_memory=False
            )
        else:
            layout = self._segments(chosen, tile=max(chosen.image), kept=0)
        source = TensorSource(torch.zeros(1, 3, *chosen.image), self._device)
        sink = TensorSink(torch.empty(1, 3, *chosen.sizes[self._program.output]))
        found = []
        for _ in range(_RUNS):  # the first one compiles
            started = time.perf_counter()
            for _ in self._executor(layout).run(source, sink):
                pass
            found.append(time.perf_counter() - started)
        return layout.plan.flops / min(found)

    def _layout(self, image: Size, tile: int | None) -> _Layout:
        if self._last is None or self._last[0] != (image, tile):
            self._engine.forget()
            self._last = ((image, tile), self._lay_out(SizedProgram(self._program, image), tile))
        return self._last[1]

    def _lay_out(self, sized: SizedProgram, tile: int | None) -> _Layout:
        kept = kept_bytes(self._device)
        if self._program.kind == "pooled" and not tile:
            peak, flops = tile_cost(sized, Stage(list(self._program.operators)), sized.image)
            if peak <= kept:
                return _Layout(sized, Plan(0, None, peak, 0, (flops,)), is_whole=True, keeps_memory=True)
        return self._segments(sized, tile=max(sized.image) if tile == 0 else tile, kept=kept)

    def _segments(self, sized: SizedProgram, *, tile: int | None, kept: int) -> _Layout:
        cut, plan = choose_segments(sized, itemsize=self._itemsize, device=self._device, tile=tile, kept=kept)
        keeps = len(cut.stages) == 1 and plan.part_bytes <= kept
        return _Layout(cut, plan, is_whole=False, keeps_memory=keeps)

    def _executor(self, layout: _Layout) -> Executor:
        sized, plan = layout.sized, layout.plan
        if layout.is_whole:
            return WholeExecutor(self._compile_whole(sized), sized.sizes[sized.program.output])
        return WindowExecutor(
            self._engine,
            sized,
            plan.tile or max(sized.image),
            self._device,
            stage_flops=plan.stage_flops,
            spill=plan.spill,
            owner=self if layout.keeps_memory else None,
        )

    def _compile_whole(self, sized: SizedProgram) -> Callable[[Tensor], Tensor]:
        """Returns the network compiled for one size, global pools included."""
        program = self._program
        result = sized.sizes[program.output]
        io = StageIO([program.source], [sized.image], [_TRACED], {}, [program.output], [result])
        constants = ("placeholder", "get_attr", "output")
        nodes = [node for node in program.module.graph.nodes if node.op not in constants]
        stage = self._engine.compile(program, Stage(nodes), io)

        def run(x: Tensor) -> Tensor:
            keep(self, stage)
            return stage([x])[0]

        return run


def is_worth_compiling(plan: Plan, *, quantized: bool) -> bool:
    """Returns True if an image takes long enough for compilation to save time."""
    return plan.flops >= (_WORTH_COMPILING_INT8 if quantized else _WORTH_COMPILING)
