"""A network compiled for the pictures it meets: the program cut for one size, and the engine that runs it."""

from __future__ import annotations

import torch

from ..execution.executor import RunStage
from ..planning.planner import Plan
from ..planning.stage_segmentation import choose_segments
from ..program.geometry import Size
from ..program.program import Program
from .openvino import OpenVinoEngine
from .window_executor import WindowExecutor

__all__ = ["CompiledNetwork", "is_worth_compiling"]

_WORTH_COMPILING = 2e12
"""Operations from which an image takes longer than importing an engine and compiling."""


class CompiledNetwork:
    """Runs a network by OpenVINO.

    Args:
        program: its traced and prepared program.
        dtype: of its arithmetic.
        quantised: whether its convolutions multiply 8-bit integers.
    """

    def __init__(self, program: Program, dtype: torch.dtype, quantised: bool = False) -> None:
        self._program = program
        self._itemsize = 1 if quantised else dtype.itemsize
        self._engine = OpenVinoEngine(dtype)
        self._last: tuple[tuple[Size, int | None], Program, Plan] | None = None

    def plan(self, image: Size, device: torch.device, tile: int | None) -> tuple[Program, Plan]:
        """The program cut for images of this size, and the plan; the same size again compiles nothing anew.

        Args:
            image: size of the input.
            device: whose memory is free for it.
            tile: largest side of what a piece owns; 0 for whole, None to choose.
        """
        if self._last is None or self._last[0] != (image, tile):
            self._engine.forget()
            side = max(image) if tile == 0 else tile
            found = choose_segments(self._program, image, itemsize=self._itemsize, device=device, tile=side)
            self._last = ((image, tile), *found)
        return self._last[1:]

    def runner(self, plan: Plan) -> RunStage:
        """What runs the stages of a plan."""
        return WindowExecutor(self._engine, plan.tile or 0)


def is_worth_compiling(plan: Plan) -> bool:
    """Whether an image takes so long that compiling for it pays."""
    return plan.flops >= _WORTH_COMPILING
