"""One network on one device in one number format: runs images in the way that suits their size."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn

from hfsr.archs import ArchSpec, enlarged_length, input_ranges
from hfsr.errors import PlanError
from hfsr.zoo import spec_of

from .approximate.overlapping_tiles import OverlappingTiles, OverlapPlan
from .backends import CompiledNetwork, is_worth_compiling
from .execution.executor import Read, RunStage, Write, execute
from .image_io.padding import padded, padded_size
from .planning.forecast import predict_run_seconds
from .planning.planner import Plan, make_plan
from .program.geometry import Region, Size
from .program.program import Program
from .program.tracing import MIN_EXACT_SIDE, is_exact, trace
from .progress import Progress, timed
from .runtime.glibc_heap import retain_heap
from .runtime.memory import is_out_of_memory

__all__ = ["Runner", "network_name", "result_size"]

_WHOLE = 0
_WINDOW = 256
"""Side in LR px of the windows of a network that says nothing of them."""
_SMALL = 128 * 128
"""Up to so many px an image runs whole: reading the graph would take longer than running it."""


def network_name(model: nn.Module) -> str:
    """A network and its scale: "EDSR x2"."""
    spec = spec_of(model)
    return f"{type(model).__name__ if spec is None else spec.name} x{_scale(model):g}"


def result_size(model: nn.Module, size: Size) -> Size:
    """Height and width of the result of an image."""
    return Size(*(enlarged_length(side, _scale(model)) for side in size))


class Runner:
    """Runs a network on images that are read and written region by region.

    Args:
        model: a restorer in evaluation mode, float32, on `device`.
        tile: largest side in LR px of what one piece owns; 0 runs whole, None chooses.
        dtype: of the arithmetic.
        backend: "torch" or "openvino".
        force_backend: the backend is taken for small images too.
        device: where the network is.

    Attributes:
        used_tile, backend: how the last image was run (see `Upscaler`), or will be.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        tile: int | None,
        dtype: torch.dtype,
        backend: str,
        force_backend: bool,
        device: torch.device,
    ) -> None:
        self.model = model
        self.tile = tile
        self.dtype = dtype
        self.device = device
        self.backend = backend
        self.used_tile: int | str = "auto" if tile is None else tile
        self._compiles = backend != "torch"
        self._force_backend = force_backend and self._compiles
        self._program: Program | None = None
        self._compiled: CompiledNetwork | None = None
        self._windowed: OverlappingTiles | None = None
        self._exact = True
        spec = spec_of(model)
        self._multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
        if spec is not None and spec.tiling in ("windowed", "traced"):
            self._windowed = self._in_windows(spec)
            self._exact = spec.tiling == "traced" and is_exact(model)

    def run(self, size: Size, read: Read, write: Write) -> Generator[Progress, None, None]:
        """Runs one image, yielding after each part.

        Args:
            size: of the image.
            read, write: where regions of the image come from and regions of the result go.

        Raises:
            PlanError: there is not enough memory, or the network cannot be run in parts.
        """
        try:
            yield from self._run(size, read, write)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            hint = "use a tile, or auto" if self.used_tile == _WHOLE else "free some, or use a smaller image"
            raise PlanError(f"not enough memory for {size.width}x{size.height} px; {hint}") from error

    def _run(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        small = self.tile is None and size.height * size.width <= _SMALL and not self._force_backend
        if (windowed := self._windowed_for(size)) is not None:
            yield from self._run_windowed(windowed, size, read, write)
        elif (small or (self.tile == _WHOLE and not self._compiles)) and self.dtype == torch.float32:
            self.backend = "torch"
            self.used_tile = _WHOLE
            image = read(Region(0, size.height, 0, size.width))
            height, width = result_size(self.model, size)
            write(Region(0, height, 0, width), self.model(image))
            yield Progress(1, 1, 0.0)
        else:
            yield from self._run_program(size, read, write)

    def plan(self, size: Size) -> Plan | OverlapPlan:
        """What running an image of this size takes."""
        if (windowed := self._windowed_for(size)) is not None:
            return windowed.plan(size, self.tile)
        return self._arranged(padded_size(size, self._multiple))[1]

    def seconds(self, size: Size, plan: Plan | OverlapPlan) -> float:
        """How long the arithmetic of an image takes, measured on a part of it."""
        if isinstance(plan, OverlapPlan):
            return 0.0 if self._windowed is None else self._windowed.profiler.seconds_per_flop() * plan.flops
        with self._heap(plan):
            return predict_run_seconds(self.program, plan, padded_size(size, self._multiple), self.device)

    @property
    def program(self) -> Program:
        """The network as stages of operators, read when it is first asked for.

        Raises:
            PlanError: it cannot be read, or states another scale than it has.
        """
        if self._program is None:
            self._program = trace(self.model)
            found = self._program.scale()
            if abs(found - _scale(self.model)) > 1e-5:
                raise PlanError(
                    f"{network_name(self.model)} enlarges x{found:g}; correct its attribute 'scale'"
                )
            self._program.prepare(self.device, self.dtype)
        return self._program

    def _windowed_for(self, size: Size) -> OverlappingTiles | None:
        """What runs an image that cannot be cut in exact pieces."""
        return None if self._exact and min(size) >= MIN_EXACT_SIDE else self._windowed

    def _run_windowed(
        self, windowed: OverlappingTiles, size: Size, read: Read, write: Write
    ) -> Iterator[Progress]:
        started = time.monotonic()
        for step in windowed.run(size, read, write, tile=self.tile):
            self.used_tile = f"windowed:{step.tile}" if step.tile else _WHOLE
            left = (1 / step.share - 1) * (time.monotonic() - started)
            yield Progress(step.done, step.total, left)

    def _run_program(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        if padded_size(size, self._multiple) != size:
            result = result_size(self.model, size)
            size, read, write = padded(size, read, write, multiple=self._multiple, result=result)
        program, plan, run_stage = self._arranged(size)
        self.used_tile = f"rows:{plan.rows}" if plan.tile is None else self.tile or plan.tile
        run = execute(
            program,
            size,
            read,
            write,
            tile=plan.tile,
            bands=plan.bands or None,
            device=self.device,
            spill=plan.spill_folder,
            run_stage=run_stage,
        )
        with self._heap(plan):
            yield from timed(run, plan, size)

    def _arranged(self, size: Size) -> tuple[Program, Plan, RunStage | None]:
        """The program as it runs an image of this size, the plan, and what runs its stages if not torch."""
        program = self.program
        plan = make_plan(program, size, self.device, max(size) if self.tile == _WHOLE else self.tile)
        if not (self._force_backend or (self._compiles and is_worth_compiling(plan))):
            self.backend = "torch"
            return program, plan, None
        if self._compiled is None:
            self._compiled = CompiledNetwork(program, self.dtype, quantised=bool(input_ranges(self.model)))
        self.backend = "openvino"
        program, plan = self._compiled.plan(size, self.device, self.tile)
        return program, plan, self._compiled.runner(plan)

    def _heap(self, plan: Plan) -> AbstractContextManager[None]:
        return retain_heap(plan.memory_bytes if self.device.type == "cpu" else 0)

    def _in_windows(self, spec: ArchSpec) -> OverlappingTiles:
        return OverlappingTiles(
            self.model,
            window=spec.window or _WINDOW,
            overlap=spec.overlap,
            multiple=self._multiple,
            linear=spec.tiling == "traced",
            device=self.device,
            dtype=self.dtype,
        )


def _scale(model: nn.Module) -> int | float:
    return getattr(model, "scale", 1)
