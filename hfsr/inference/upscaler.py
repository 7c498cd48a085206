"""The one image pipeline: commands, the Space and Python all run networks through an `Upscaler`."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hfsr import images
from hfsr.archs import ArchSpec, enlarged_length, input_ranges
from hfsr.errors import OptionsError, PlanError
from hfsr.zoo import spec_of

from .backends import CompiledNetwork, choose_backend, is_worth_compiling
from .ensemble import VIEWS, Mean
from .execute import Read, RunStage, Write, execute
from .forecast import Forecast, memory_of_run, seconds_of_run, seconds_of_writing
from .graph import EXACT_FROM, Program, is_exact, trace
from .memory import kept_heap, resident_memory
from .padding import padded, padded_size
from .pixels import Opacity, Pixels, RowOrder, new_array
from .plan import Plan, make_plan
from .precision import choose_device, choose_dtype, dtype_name
from .progress import Progress, drain, one_pass, timed
from .regions import Region, Size
from .transfer import Overlapped
from .windowed import Windowed, WindowPlan

__all__ = ["Progress", "Upscaler"]

Put = Callable[[Region, NDArray], None]
"""Takes a part of the result, in output px and in the picture's own type."""

_WHOLE = 0
_WINDOW = 256
"""Side in LR px of the windows of a network that says nothing of them."""
_SMALL = 128 * 128
"""Up to so many px an image runs whole: reading the graph would take longer than running it."""


class Upscaler:
    """Runs a network on pictures of any size, exactly, in bounded memory.

    Args:
        model: a restorer (see `hfsr.from_pretrained`, `hfsr.create_model`). It is not changed.
        tile: largest side in LR px of what one piece owns; "auto" picks it from the free memory, 0 runs
        whole.
            The result does not depend on it: within 1e-5 of the range in fp32. Only a network with attention
            over the whole image runs in tiles that are an approximation; `used_tile` says so.
        dtype: "fp32", "bf16", "fp16", or "auto": bf16 where the device has it natively and the network
            allows it.
        backend: "torch"; "openvino", which compiles for each size of picture (local and pooled networks on a
            CPU, needs hfsr[openvino]); "auto" takes that where it is installed and the picture is worth it.
        device: "cpu", "cuda", "cuda:N"; None takes CUDA where there is one.
        self_ensemble: average the results of the eight flips and transposes, in float: eight times the work,
            and one float32 copy of the result in memory (or in a file).

    Attributes:
        scale: output px per input px.
        used_tile: how the last picture was run: a tile's side in px, 0 for whole, "rows:32" for bands of 32
            rows, "windowed:64" for overlapping tiles of 64 px that approximate the whole.
        backend: what ran the last picture, or will run the first.
        notes: what reading the last picture had to change, in words ("only the first of 3 pages was read").
        summary: network, scale, that, dtype, backend and device in one line.

    Raises:
        OptionsError: a value that is not allowed, or not on this machine.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        tile: int | str = "auto",
        dtype: str = "auto",
        backend: str = "torch",
        device: str | torch.device | None = None,
        self_ensemble: bool = False,
    ) -> None:
        self.tile = _parse_tile(tile)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, model, self.device)
        self.backend = choose_backend(backend, model, self.device)
        self._compiles = self.backend != "torch"
        self._compiles_always = backend == self.backend != "torch"
        self.model = _ready(model, self.device)
        self.scale: int | float = getattr(model, "scale", 1)
        self.used_tile: int | str = "auto" if self.tile is None else self.tile
        self.notes: tuple[str, ...] = ()
        self.self_ensemble = self_ensemble
        if self_ensemble and self.scale != int(self.scale):
            raise OptionsError(
                f"self-ensemble needs a whole scale, not {self.scale:g}: flips would not align"
            )
        self._program: Program | None = None
        self._compiled: CompiledNetwork | None = None
        self._windowed: Windowed | None = None
        self._exact = True
        spec = spec_of(self.model)
        if spec is not None and spec.tiling in ("windowed", "traced"):
            self._windowed = _windowed(self.model, spec, self.device, self.dtype)
            self._exact = spec.tiling == "traced" and is_exact(self.model)

    @property
    def dtype_name(self) -> str:
        """fp32, bf16 or fp16."""
        return dtype_name(self.dtype)

    @property
    def name(self) -> str:
        """The network and its scale: "EDSR x2"."""
        spec = spec_of(self.model)
        return f"{type(self.model).__name__ if spec is None else spec.name} x{self.scale:g}"

    @property
    def summary(self) -> str:
        return f"{self.name}, tile {self.used_tile}, {self.dtype_name}, {self.backend} on {self.device}"

    # Pictures

    def __call__(
        self, image: Image.Image | str | Path | NDArray, progress: Callable[[Progress], None] | None = None
    ) -> Image.Image | NDArray:
        """Upscales one picture.

        Args:
            image: a PIL picture or a path (gives a PIL picture, 8 bit), or an array (H, W, 3) or (H, W), RGB,
            uint8,
                uint16 or float32 in [0, 1] (gives an array of the same type, (H*scale, W*scale, ...)).
            progress: called after each piece.

        Raises:
            ImageError: not a picture, or one with NaN in it.
        """
        if isinstance(image, np.ndarray):
            return drain(self._array_steps(image), progress)
        picture = images.open_picture(image)
        self.notes = picture.notes
        return images.picture_to_pil(drain(self._picture_steps(picture), progress))

    def tensor(self, x: Tensor, progress: Callable[[Progress], None] | None = None) -> Tensor:
        """Upscales one picture given as a tensor.

        Args:
            x: RGB in [0, 1], float, (1, 3, H, W), on any device.

        Returns:
            RGB, nominally [0, 1], not clamped, float32, (1, 3, H*scale, W*scale), on the CPU.
        """
        size = Size(*x.shape[-2:])
        result = torch.empty(1, 3, *self.result_size(size))

        def read(r: Region) -> Tensor:
            return x[..., r.top : r.bottom, r.left : r.right].to(self.device, torch.float32)

        def write(r: Region, part: Tensor) -> None:
            result[..., r.top : r.bottom, r.left : r.right] = part

        for step in self._run(size, read, write):
            if progress is not None:
                progress(step)
        return result

    def file(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> None:
        """Upscales a picture file to a picture file; see `steps`."""
        for _ in self.steps(source, target, jpeg_quality=jpeg_quality, max_pixels=max_pixels):
            pass

    def steps(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> Generator[Progress, None, None]:
        """Upscales a picture file to a picture file, yielding after each piece.

        The target appears when the last piece is done; closing the generator before leaves nothing behind.

        Raises:
            ImageError: the source cannot be read, or the target cannot be written; said before the work where
                that is known.
        """
        target = Path(target)
        images.output_format(target)
        limit = {} if max_pixels is None else {"max_pixels": max_pixels}
        picture = images.read_picture(Path(source), **limit)
        self.notes = picture.notes
        if picture.bits == 16 and self.dtype != torch.float32:
            self.notes += (f"computed in {self.dtype_name}, which is coarser than 16 bit; fp32 is not",)
        height, width = self.result_size(Size(picture.height, picture.width))
        images.check_target(
            target, width=width, height=height, alpha=picture.alpha is not None, jpeg_quality=jpeg_quality
        )
        if images.takes_rows(target):
            with images.open_rows(target, like=picture, width=width, height=height) as writer:
                yield from self._row_steps(picture, writer.write)
            return
        result = yield from self._picture_steps(picture)
        images.write_picture(result, target, jpeg_quality=jpeg_quality)

    def result_size(self, size: Size) -> Size:
        """Height and width of the result of a picture."""
        return Size(*(enlarged_length(side, self.scale) for side in size))

    def plan(self, width: int, height: int) -> Plan | WindowPlan:
        """What running a picture of this size will take: the piece size, memory and arithmetic."""
        if (windowed := self._windowed_for(Size(height, width))) is not None:
            return windowed.plan(Size(height, width), self.tile)
        size = padded_size(Size(height, width), _size_multiple(self.model))
        return self._arranged(size)[1]

    @torch.inference_mode()
    def forecast(self, width: int, height: int) -> Forecast:
        """Memory and time that a picture file of this size will take to become a PNG, measured and counted.

        The first call for a size takes a second or a few: every distinct operator runs on a band.
        """
        size, runs = Size(height, width), len(VIEWS) if self.self_ensemble else 1
        result, resident = self.result_size(size), resident_memory()
        plan = self.plan(width, height)
        held = (4 * 3 * result.height * result.width) if self.self_ensemble else 0
        if isinstance(plan, WindowPlan):
            held += plan.part_bytes
            seconds = self._windowed_seconds(plan)
        else:
            held += plan.memory_bytes
            padded_to = padded_size(size, _size_multiple(self.model))
            with kept_heap():
                seconds = seconds_of_run(self._programmed(), plan, padded_to, self.device)
        peak = memory_of_run(held, resident, size, result, on_cpu=self.device.type == "cpu")
        return Forecast(peak, runs * seconds + seconds_of_writing(result))

    def _windowed_seconds(self, plan: WindowPlan) -> float:
        windowed = self._windowed
        if windowed is None:
            return 0.0
        return windowed.flops_seconds() * plan.flops

    def _picture_steps(self, picture: images.Picture) -> Generator[Progress, None, images.Picture]:
        """Runs a picture; yields progress and returns the whole result."""
        height, width = self.result_size(Size(picture.height, picture.width))
        shape = (height, width, *picture.pixels.shape[2:])
        pixels = new_array(shape, picture.pixels.dtype)

        def put(r: Region, values: NDArray) -> None:
            pixels[r.top : r.bottom, r.left : r.right] = values

        alpha = yield from self._put_steps(picture, lambda _: put)
        return replace(picture, pixels=pixels, alpha=alpha)

    def _row_steps(
        self, picture: images.Picture, take: Callable[[NDArray], None]
    ) -> Generator[Progress, None, None]:
        """Runs a picture and hands over the rows of the result as they come, alpha beside the colours."""
        width = self.result_size(Size(picture.height, picture.width)).width
        yield from self._put_steps(picture, lambda alpha: RowOrder(width, take, alpha).write)

    def _put_steps(
        self, picture: images.Picture, put_beside: Callable[[NDArray | None], Put]
    ) -> Generator[Progress, None, NDArray | None]:
        """Runs a picture and returns the alpha of the result, which `put_beside` is given before the colours.

        Opacity runs by itself first, and colour premultiplied by it, so that nothing fringes.
        """
        alpha = picture.alpha
        if alpha is None or alpha.min() == alpha.max():
            size = self.result_size(Size(picture.height, picture.width))
            same = None if alpha is None else np.broadcast_to(alpha[0, 0], size)
            yield from self._pixel_steps(Pixels(picture.pixels, self.device), put_beside(same))
            return same
        enlarged = yield from one_pass(0, 2, self._array_steps(alpha))
        pixels = Pixels(picture.pixels, self.device, Opacity(alpha, enlarged))
        yield from one_pass(1, 2, self._pixel_steps(pixels, put_beside(enlarged)))
        return enlarged

    def _array_steps(self, array: NDArray) -> Generator[Progress, None, NDArray]:
        """Runs an array; yields progress and returns an array of the same type."""
        pixels = Pixels(array, self.device)
        result = new_array((*self.result_size(pixels.size), *array.shape[2:]), array.dtype)

        def put(r: Region, values: NDArray) -> None:
            result[r.top : r.bottom, r.left : r.right] = values

        yield from self._pixel_steps(pixels, put)
        return result

    def _pixel_steps(self, pixels: Pixels, put: Put) -> Generator[Progress, None, None]:
        """Runs an array and hands over each part of the result."""

        def write(r: Region, part: Tensor) -> None:
            put(r, pixels.values(r, part))

        yield from self._run(pixels.size, pixels.read, write)

    # The run

    @torch.inference_mode()  # as a decorator: between two yields the caller's mode is its own
    def _run(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        if self.device.type == "cuda":
            overlapped = Overlapped(self.device, write)
            yield from self._run_views(size, read, overlapped.write)
            overlapped.finish()
        else:
            yield from self._run_views(size, read, write)

    def _run_views(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        if not self.self_ensemble:
            yield from self._run_once(size, read, write)
            return
        mean = Mean(self.result_size(size))
        for index, view in enumerate(VIEWS):
            run = self._run_once(view.size(size), view.reader(size, read), mean.writer(view))
            yield from one_pass(index, len(VIEWS), run)
        mean.hand_over(write, self.device)

    def _run_once(self, size: Size, read: Read, write: Write) -> Generator[Progress, None, None]:
        small = self.tile is None and size.height * size.width <= _SMALL and not self._compiles_always
        if (windowed := self._windowed_for(size)) is not None:
            yield from self._run_windowed(windowed, size, read, write)
        elif (small or (self.tile == _WHOLE and not self._compiles)) and self.dtype == torch.float32:
            self.backend = "torch"
            self.used_tile = _WHOLE
            image = read(Region(0, size.height, 0, size.width))
            height, width = self.result_size(size)
            write(Region(0, height, 0, width), self.model(image))
            yield Progress(1, 1, 0.0)
        else:
            yield from self._run_program(size, read, write)

    def _windowed_for(self, size: Size) -> Windowed | None:
        """What runs a picture that cannot be cut in exact pieces."""
        return None if self._exact and min(size) >= EXACT_FROM else self._windowed

    def _run_windowed(self, windowed: Windowed, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        started = time.monotonic()
        for step in windowed.run(size, read, write, tile=self.tile):
            self.used_tile = f"windowed:{step.tile}" if step.tile else _WHOLE
            left = (1 / step.share - 1) * (time.monotonic() - started)
            yield Progress(step.done, step.total, left)

    def _run_program(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        multiple = _size_multiple(self.model)
        if padded_size(size, multiple) != size:
            size, read, write = padded(size, read, write, multiple=multiple, result=self.result_size(size))
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
        with kept_heap():
            yield from timed(run, plan, size)

    def _arranged(self, size: Size) -> tuple[Program, Plan, RunStage | None]:
        """The program as it runs an image of this size, the plan, and what runs its stages if not torch."""
        program = self._programmed()
        plan = make_plan(program, size, self.device, max(size) if self.tile == _WHOLE else self.tile)
        if not (self._compiles_always or (self._compiles and is_worth_compiling(plan))):
            self.backend = "torch"
            return program, plan, None
        if self._compiled is None:
            self._compiled = CompiledNetwork(program, self.dtype, quantised=bool(input_ranges(self.model)))
        self.backend = "openvino"
        program, plan = self._compiled.plan(size, self.device, self.tile)
        return program, plan, self._compiled.runner(plan)

    def _programmed(self) -> Program:
        if self._program is None:
            self._program = trace(self.model)
            found = self._program.scale()
            if abs(found - self.scale) > 1e-5:
                raise PlanError(f"{self.name} enlarges x{found:g}; correct its attribute 'scale'")
            self._program.prepare(self.device, self.dtype)
        return self._program


def _ready(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself when it can run as it is, else a copy in evaluation mode, float32, on the device."""
    tensors = [*model.parameters(), *model.buffers()]
    as_it_is = all(t.device == device and t.dtype in (torch.float32, torch.int64) for t in tensors)
    if as_it_is and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=torch.float32).eval()


def _windowed(model: nn.Module, spec: ArchSpec, device: torch.device, dtype: torch.dtype) -> Windowed:
    return Windowed(
        model,
        window=spec.window or _WINDOW,
        overlap=spec.overlap,
        multiple=spec.size_multiple(vars(model)["model_args"]),
        linear=spec.tiling == "traced",
        device=device,
        dtype=dtype,
    )


def _size_multiple(model: nn.Module) -> int:
    """Of what `core` wants the sides of a picture to be multiples; `forward` pads them itself."""
    spec = spec_of(model)
    return 1 if spec is None else spec.size_multiple(vars(model)["model_args"])


def _parse_tile(tile: int | str) -> int | None:
    if tile == "auto":
        return None
    try:
        number = int(tile)
    except ValueError:
        number = -1
    if number < 0 or 0 < number < 8:
        raise OptionsError(f"tile {tile!r} is not allowed; use auto, 0 (whole) or a side of at least 8 px")
    return number
