"""A network compiled for the size of an image: the program split for it, and the engine that runs it."""

from __future__ import annotations

import torch

from ..planning.planner import Plan
from ..planning.stage_segmentation import choose_segments
from ..program.geometry import Size
from ..program.program import Program
from ..program.sized_program import SizedProgram
from .openvino import OpenVinoEngine
from .window_executor import WindowExecutor

__all__ = ["CompiledNetwork", "is_worth_compiling"]

_WORTH_COMPILING = 2e12
"""Operations from which a run in floating point saves more time than importing and compiling take."""
_WORTH_COMPILING_INT8 = 2e11
"""The same for 8-bit integers, which torch only simulates."""


class CompiledNetwork:
    """Runs a network with OpenVINO.

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
        )

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
