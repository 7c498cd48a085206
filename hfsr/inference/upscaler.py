"""The one image pipeline: commands, the Space and Python all run networks through an `Upscaler`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hfsr import images
from hfsr.errors import OptionsError

from .approximate.overlapping_tiles import OverlapPlan
from .backends import choose_backend
from .execution.feature_store import Read, Write
from .image_io.device_transfer import OverlappedTransfer
from .image_io.pipeline import ImagePipeline, Ready
from .image_io.self_ensemble import VIEWS, ViewMean
from .planning.forecast import Forecast, predict_encoding_seconds, predict_peak_memory
from .planning.planner import Plan
from .program.geometry import Region, Size
from .progress import Progress, drain, one_pass
from .runner import Runner, network_name, result_size
from .runtime.memory import resident_memory
from .runtime.precision import choose_device, choose_dtype, disable_tf32, dtype_name

__all__ = ["Progress", "Upscaler"]


class Upscaler:
    """Runs a network on pictures of any size, exactly, in bounded memory.

    Args:
        model: a restorer (see `hfsr.from_pretrained`, `hfsr.create_model`). It is not changed.
        tile: largest side in LR px of what one piece owns; "auto" picks it from the free memory, 0 runs
            whole. The result does not depend on it: within 1e-5 of the range in fp32. Only a network with
            attention over the whole image runs in tiles that are an approximation; `used_tile` says so.
        dtype: "fp32", "bf16", "fp16", or "auto": bf16 where the device has it natively and the network
            allows it, but fp32 for pictures and arrays of 16 bit: bf16 holds 8 bits of a number, and its
            error, invisible in 8 bit, is hundreds of steps of 16. Floats count as 8 bit.
        backend: "torch"; "openvino", which compiles for each size of picture (local and pooled networks on a
            CPU, needs hfsr[openvino]); "auto" takes that for local ones, where it is installed and the
            picture is worth it.
        device: "cpu", "cuda", "cuda:N"; None takes CUDA where there is one.
        self_ensemble: average the results of the eight flips and transposes, in float: eight times the work,
            and one float32 copy of the result in memory (or in a file).

    Attributes:
        scale: output px per input px.
        notes: what reading the last picture had to change, in words ("only the first of 3 pages was read").

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
        self._chosen_dtype = choose_dtype(dtype, model, self.device)
        self._minds_bits = dtype == "auto"
        self._chosen_backend = choose_backend(backend, model, self.device)
        self._force_backend = backend == self._chosen_backend
        self.model = _ready(model, self.device)
        self.scale: int | float = getattr(model, "scale", 1)
        self.notes: tuple[str, ...] = ()
        self.self_ensemble = self_ensemble
        if self_ensemble and self.scale != int(self.scale):
            raise OptionsError(
                f"self-ensemble needs a whole scale, not {self.scale:g}: flips would not align"
            )
        self._runners: dict[torch.dtype, Runner] = {}
        self._runner = self._runner_for(bits=8)
        self._pictures = ImagePipeline(self._run, self.result_size, self.device)

    # What ran the last picture, or will run the first

    @property
    def dtype(self) -> torch.dtype:
        """Of the arithmetic of the last picture."""
        return self._runner.dtype

    @property
    def dtype_name(self) -> str:
        """The same: fp32, bf16 or fp16."""
        return dtype_name(self.dtype)

    @property
    def used_tile(self) -> int | str:
        """How the last picture was run: a tile's side in px, 0 for whole, "rows:32" for bands of 32 rows,
        "windowed:64" for overlapping tiles of 64 px that approximate the whole.
        """
        return self._runner.used_tile

    @property
    def backend(self) -> str:
        """What ran the last picture: torch or openvino."""
        return self._runner.backend

    @property
    def name(self) -> str:
        """The network and its scale: "EDSR x2"."""
        return network_name(self.model)

    @property
    def summary(self) -> str:
        """Network, scale, tile, dtype, backend and device in one line."""
        return f"{self.name}, tile {self.used_tile}, {self.dtype_name}, {self.backend} on {self.device}"

    # Images

    def __call__(
        self, image: Image.Image | str | Path | NDArray, progress: Callable[[Progress], None] | None = None
    ) -> Image.Image | NDArray:
        """Upscales one picture.

        Args:
            image: a PIL picture or a path (gives a PIL picture, 8 bit), or an array (H, W, 3) or (H, W), RGB,
                uint8, uint16 or float32 in [0, 1] (gives an array of the same type, (H*scale, W*scale, ...)).
            progress: called after each piece.

        Raises:
            ImageError: not a picture, or one with NaN in it.
        """
        if isinstance(image, np.ndarray):
            self._runner = self._runner_for(16 if image.dtype == np.uint16 else 8)
            return drain(self._pictures.array(image), progress)
        picture = images.open_picture(image)
        self._take_note(picture)
        return images.picture_to_pil(drain(self._pictures.whole(picture), progress))

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

        self._runner = self._runner_for(bits=8)
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
        self._take_note(picture)
        height, width = self.result_size(Size(picture.height, picture.width))
        images.check_target(
            target, width=width, height=height, alpha=picture.alpha is not None, jpeg_quality=jpeg_quality
        )
        if images.takes_rows(target):
            with images.open_rows(target, like=picture, width=width, height=height) as writer:
                yield from self._pictures.rows(picture, writer.write)
            return
        result = yield from self._pictures.whole(picture)
        images.write_picture(result, target, jpeg_quality=jpeg_quality)

    # What it will take

    def result_size(self, size: Size) -> Size:
        """Height and width of the result of a picture."""
        return result_size(self.model, size)

    def plan(self, width: int, height: int, bits: int = 8) -> Plan | OverlapPlan:
        """What running a picture of this size and depth will take: piece size, memory and arithmetic."""
        self._runner = self._runner_for(bits)
        return self._runner.plan(Size(height, width))

    @torch.inference_mode()
    def forecast(self, width: int, height: int, bits: int = 8) -> Forecast:
        """Memory and time that a picture file of this size and depth will take to become a PNG, measured and
        counted.

        The first call for a size takes a second or a few: every distinct operator runs on a band.
        """
        size, runs = Size(height, width), len(VIEWS) if self.self_ensemble else 1
        result, resident = self.result_size(size), resident_memory()
        plan = self.plan(width, height, bits)
        held = (4 * 3 * result.height * result.width) if self.self_ensemble else 0
        held += plan.part_bytes if isinstance(plan, OverlapPlan) else plan.memory_bytes
        with disable_tf32(self.dtype, self.device):
            seconds = self._runner.seconds(size, plan)
        peak = predict_peak_memory(held, resident, size, result, on_cpu=self.device.type == "cpu")
        return Forecast(peak, runs * seconds + predict_encoding_seconds(result))

    # The run

    def _runner_for(self, bits: int) -> Runner:
        """What runs pictures of so many bits per channel."""
        dtype = torch.float32 if self._minds_bits and bits > 8 else self._chosen_dtype
        if dtype not in self._runners:
            self._runners[dtype] = Runner(
                self.model,
                tile=self.tile,
                dtype=dtype,
                backend=self._chosen_backend,
                force_backend=self._force_backend,
                device=self.device,
            )
        return self._runners[dtype]

    def _take_note(self, picture: images.Picture) -> None:
        """Turns to what runs such pictures, and to what there is to say of this one."""
        self._runner = self._runner_for(picture.bits)
        self.notes = picture.notes
        if picture.bits > 8 and self.dtype != torch.float32:
            self.notes += (f"computed in {self.dtype_name}, which is coarser than 16 bit; fp32 is not",)

    def _run(
        self, size: Size, read: Read, write: Write, ready: Ready = lambda part: part
    ) -> Iterator[Progress]:
        run = self._run_on_device(size, read, write, ready)
        with closing(run):
            while True:
                with disable_tf32(
                    self.dtype, self.device
                ):  # between two yields the caller's setting is its own
                    step = next(run, None)
                if step is None:
                    return
                yield step

    @torch.inference_mode()  # as a decorator: between two yields the caller's mode is its own
    def _run_on_device(
        self, size: Size, read: Read, write: Write, ready: Ready
    ) -> Generator[Progress, None, None]:
        overlapped = OverlappedTransfer(self.device, write) if self.device.type == "cuda" else None
        take = write if overlapped is None else overlapped.write
        yield from self._run_views(size, read, lambda r, part: take(r, ready(part)))
        if overlapped is not None:
            overlapped.finish()

    def _run_views(self, size: Size, read: Read, write: Write) -> Iterator[Progress]:
        if not self.self_ensemble:
            yield from self._runner.run(size, read, write)
            return
        mean = ViewMean(self.result_size(size))
        for index, view in enumerate(VIEWS):
            run = self._runner.run(view.size(size), view.reader(size, read), mean.writer(view))
            yield from one_pass(index, len(VIEWS), run)
        mean.write(write, self.device)


def _ready(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself when it can run as it is, else a copy in evaluation mode, float32, on the device."""
    tensors = [*model.parameters(), *model.buffers()]
    as_it_is = all(t.device == device and t.dtype in (torch.float32, torch.int64) for t in tensors)
    if as_it_is and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=torch.float32).eval()


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
