"""Runs one network on one device in one dtype, with the executor that suits the size of the image."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn

from hfsr.archs import ArchSpec, count_parameters, enlarged_length, input_ranges
from hfsr.errors import ImageError, PlanError
from hfsr.model_zoo import spec_of

from .approximate.overlapping_tiles import OverlappingTiles, OverlapPlan
from .backends import CompiledNetwork, is_worth_compiling, release_others
from .execution.executor import Executor
from .execution.program_check import check_program
from .execution.row_executor import RowExecutor
from .execution.tile_executor import TileExecutor
from .execution.whole_executor import WholeExecutor
from .image_io.finite_sink import FiniteSink, NonFiniteError, RemainingSink
from .image_io.padding import CroppedSink, PaddedSource, padded_size
from .image_io.sources_and_sinks import ImageSink, ImageSource
from .planning.forecast import predict_run_seconds
from .planning.planner import Plan, make_plan
from .program.dtype_lowering import lower
from .program.geometry import Size
from .program.program import Program
from .program.sized_program import SizedProgram
from .program.tracing import MIN_EXACT_SIDE, is_exact, trace
from .progress import Progress, with_time_left
from .runtime.glibc_heap import retain_heap
from .runtime.memory import is_out_of_memory
from .runtime.precision import dtype_name

__all__ = ["Runner", "network_name"]

_WHOLE = 0
_DEFAULT_WINDOW = 256
"""Default window size in LR px when the ArchSpec sets none."""
_OWN_NETWORKS = "hfsr.archs."
_SMALL = 128 * 128
"""Images up to this number of px run whole: tracing would take longer than running."""


class Runner:
    """Runs a network on images that are read and written region by region.

    Args:
        model: a restorer in evaluation mode, float32, on `device`.
        tile: largest side in LR px of what one tile owns; 0 runs whole, None chooses.
        dtype: of the arithmetic.
        backend: "torch" or "openvino".
        force_backend: use the backend for small images too.
        device: of the network.

    Attributes:
        used_tile, backend: of the last image (see `Upscaler`), or of the first one to come.
        notes: changes of the last image's arithmetic; the owner clears them before the next image.
        parameters: of the network, by which the time of several networks is estimated.
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
        self.parameters = max(1, count_parameters(model))
        self.used_tile: int | str = "auto" if tile is None else tile
        self.notes: tuple[str, ...] = ()
        self._quantized = bool(input_ranges(model))
        self._compiles = backend != "torch"
        self._force_backend = force_backend and self._compiles
        self._program: Program | None = None
        self._preparing = threading.Lock()
        self._compiled: CompiledNetwork | None = None
        self._overlapping: OverlappingTiles | None = None
        self._is_exact = True
        spec = spec_of(model)
        self._multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
        if spec is not None and spec.tiling in ("windowed", "traced"):
            self._overlapping = self._overlapping_tiles(spec)
            self._is_exact = spec.tiling == "traced" and is_exact(model)

    @property
    def scale(self) -> int | float:
        """Px of the result per px of the image."""
        return _scale(self.model)

    def result_size(self, size: Size) -> Size:
        """Size of the result of an image."""
        return Size(*(enlarged_length(side, _scale(self.model)) for side in size))

    def run(self, source: ImageSource, sink: ImageSink) -> Generator[Progress, None, None]:
        """Runs one image, yielding after each part.

        Args:
            source: the image.
            sink: receives the result.

        Raises:
            PlanError: not enough memory, a missing operator of the device, or a network that cannot be tiled.
            ImageError: the result holds NaN or infinity, in float32 too.
        """
        try:
            yield from self._run_finite(source, sink)
        except NotImplementedError as error:  # an operator that torch lacks on this device
            if self.device.type == "cpu":
                raise
            lines = str(error).strip().splitlines() or ["an operator is missing"]
            raise PlanError(
                f"{self.device} cannot run {network_name(self.model)} ({lines[0][:160]}); use --device cpu"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            height, width = source.size
            hint = "use a tile, or auto" if self.used_tile == _WHOLE else "free some, or use a smaller image"
            raise PlanError(f"not enough memory for {width}x{height} px; {hint}") from error

    def plan(self, size: Size) -> Plan | OverlapPlan:
        """Tile or band size, memory and arithmetic of an image of this size."""
        if (overlapping := self._overlapping_for(size)) is not None:
            return overlapping.plan(size, self.tile)
        return self._plan(padded_size(size, self._multiple))

    def seconds(self, size: Size, plan: Plan | OverlapPlan) -> float:
        """Seconds of the arithmetic of an image, predicted from measurements on a part of it."""
        if isinstance(plan, OverlapPlan):
            return (
                0.0
                if self._overlapping is None
                else self._overlapping.profiler.seconds_per_flop() * plan.flops
            )
        sized = SizedProgram(self.program, padded_size(size, self._multiple))
        with self._heap(plan):
            if self._compiled is not None and self.backend == "openvino":
                return self._compiled.seconds(plan)
            return predict_run_seconds(sized, plan, self.device)

    @property
    def program(self) -> Program:
        """The network as stages of operators, traced and lowered when first used.

        Networks that hfsr does not define are checked: their program must compute what they compute.

        Raises:
            PlanError: it cannot be traced, its scale differs from its attribute `scale`, or its program
                computes something else.
        """
        with self._preparing:
            if self._program is None:
                self._program = self._prepare_program()
        return self._program

    def _prepare_program(self) -> Program:
        program = trace(self.model)
        found = program.scale()
        if abs(found - _scale(self.model)) > 1e-5:
            raise PlanError(f"{network_name(self.model)} enlarges x{found:g}; correct its attribute 'scale'")
        is_known = type(self.model).__module__.startswith(_OWN_NETWORKS) or self._overlapping is not None
        if not is_known:  # the latter are compared by `is_exact`
            exact = lower(program, self.device, torch.float32)
            check_program(self.model, exact, self.device, self._multiple)
        return lower(program, self.device, self.dtype)

    def _run_finite(self, source: ImageSource, sink: ImageSink) -> Iterator[Progress]:
        """Runs the image, and computes what overflowed in a shorter dtype again in float32.

        An overflow at a global pool reaches every px, so the second run begins with the first stage; px that
        were finite keep their values.
        """
        checked = FiniteSink(sink)
        try:
            yield from self._run(source, checked)
            return
        except NonFiniteError:
            if self.dtype == torch.float32:
                raise ImageError(
                    f"the result of {network_name(self.model)} holds NaN or infinity: its weights are "
                    "damaged or read with wrong arguments; convert them again (hfsr convert --set)"
                ) from None
        size = self.result_size(source.size)
        exact = Runner(
            self.model,
            tile=self.tile,
            dtype=torch.float32,
            backend="torch",
            force_backend=False,
            device=self.device,
        )
        yield from exact.run(source, RemainingSink(sink, size, checked.written))
        self.used_tile = exact.used_tile
        share = 1 - sum(region.area for region in checked.written) / (size.height * size.width)
        self.notes += (f"{dtype_name(self.dtype)} overflowed; {share:.0%} of the result is computed in fp32",)

    def _run(self, source: ImageSource, sink: ImageSink) -> Iterator[Progress]:
        size = source.size
        self._release_others(padded_size(size, self._multiple))
        if (overlapping := self._overlapping_for(size)) is not None:
            yield from self._execute(overlapping.executor(size, self.tile), source, sink)
        elif self._runs_whole(size):
            self.backend = "torch"
            yield from self._execute(WholeExecutor(self.model, self.result_size(size)), source, sink)
        else:
            if padded_size(size, self._multiple) != size:
                source = PaddedSource(source, self._multiple)
                sink = CroppedSink(sink, self.result_size(size))
            plan = self._plan(source.size)
            with self._heap(plan):
                yield from self._execute(self._executor(source.size, plan), source, sink)

    def _release_others(self, size: Size) -> None:
        """Releases memory that compiled networks kept, unless this image is about to use it."""
        uses = self._compiled is not None and self._compiled.has_plan(size, self.tile)
        release_others(self._compiled if uses else None)

    def _execute(self, executor: Executor, source: ImageSource, sink: ImageSink) -> Iterator[Progress]:
        self.used_tile = executor.tile
        for step in with_time_left(executor.run(source, sink)):
            self.used_tile = executor.tile  # which may have shrunk
            yield step

    def _runs_whole(self, size: Size) -> bool:
        """True for images that run without a program."""
        is_small = self.tile is None and size.height * size.width <= _SMALL and not self._force_backend
        return self.dtype == torch.float32 and (is_small or (self.tile == _WHOLE and not self._compiles))

    def _overlapping_for(self, size: Size) -> OverlappingTiles | None:
        """The network in overlapping tiles, for images that cannot be tiled exactly."""
        return None if self._is_exact and min(size) >= MIN_EXACT_SIDE else self._overlapping

    def _plan(self, size: Size) -> Plan:
        """Plans an image of a size that the network divides, and chooses the backend for it."""
        tile = max(size) if self.tile == _WHOLE else self.tile
        plan = make_plan(SizedProgram(self.program, size), self.device, tile)
        is_worth = self._compiles and is_worth_compiling(plan, quantized=self._quantized)
        if not (self._force_backend or is_worth):
            self.backend = "torch"
            return plan
        self.backend = "openvino"
        if self._compiled is None:
            self._compiled = CompiledNetwork(
                self.program, self.dtype, quantized=self._quantized, device=self.device
            )
        return self._compiled.plan(size, self.tile)

    def _executor(self, size: Size, plan: Plan) -> Executor:
        """The executor of a plan by the chosen backend."""
        if self._compiled is not None and self.backend == "openvino":
            return self._compiled.executor(size, self.tile)
        sized = SizedProgram(self.program, size)
        if plan.bands:
            return RowExecutor(sized, plan.bands, self.device, spill=plan.spill)
        tile = plan.tile or max(size)
        return TileExecutor(sized, tile, self.device, stage_flops=plan.stage_flops, spill=plan.spill)

    def _heap(self, plan: Plan) -> AbstractContextManager[None]:
        return retain_heap(plan.memory_bytes if self.device.type == "cpu" else 0)

    def _overlapping_tiles(self, spec: ArchSpec) -> OverlappingTiles:
        return OverlappingTiles(
            self.model,
            window=spec.window or _DEFAULT_WINDOW,
            overlap=spec.overlap,
            multiple=self._multiple,
            linear=spec.tiling == "traced",
            device=self.device,
            dtype=self.dtype,
        )


def network_name(model: nn.Module) -> str:
    """A network and its scale: "EDSR x2"."""
    spec = spec_of(model)
    return f"{type(model).__name__ if spec is None else spec.name} x{_scale(model):g}"


def _scale(model: nn.Module) -> int | float:
    return getattr(model, "scale", 1)
