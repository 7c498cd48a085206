"""`Upscaler`: the one way in which the commands, the Space and Python run networks on images."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hfsr import images
from hfsr.archs import input_ranges
from hfsr.errors import ImageError, OptionsError
from hfsr.images.decoding.encoded_image import ImageFile
from hfsr.images.encoding.row_writers import RowWriter

from .approximate.overlapping_tiles import OverlapPlan
from .arguments import (
    check_file_arguments,
    check_flag,
    check_models,
    check_progress,
    check_size,
    check_tensor,
    parse_tile,
)
from .backends import choose_backend, reason_for_torch
from .image_io.pixel_source import check_array
from .image_io.self_ensemble import VIEWS
from .image_pipeline import ImagePipeline
from .planning.forecast import Forecast, predict_encoding_seconds, predict_peak_memory
from .planning.planner import Plan
from .program.geometry import Size
from .progress import Progress, drain, one_pass
from .result_size import WantedSize
from .runner import Runner, network_name
from .runtime.memory import resident_memory
from .runtime.model_state import ModelState
from .runtime.precision import choose_device, choose_dtype, disable_tf32, dtype_name

__all__ = ["Progress", "Upscaler"]

_KEPT_BYTES = 6
"""Bytes per px of the result between two networks."""


class Upscaler:
    """Runs a network on images of any size, exactly, in bounded memory.

    Args:
        model: a restorer (see `hfsr.from_pretrained`, `hfsr.create_model`), or several that run one after
            another: their scales multiply. They are not changed.
        tile: largest side in LR px of what one tile owns; "auto" chooses it from the free memory, 0 runs
            whole. The result does not depend on it: within 1e-5 of the range in fp32. Only the overlapping
            tiles of a network with attention over the whole image are approximate; `used_tile` reports it.
        dtype: "fp32", "bf16", "fp16" (or torch's dtypes), or "auto": bf16 if the device has it natively and
            the network allows it, but fp32 for images and arrays of 16 bit: bf16 has 8 significant bits, and
            its error, invisible in 8 bit, is hundreds of levels of 16 bit. Floats count as 8 bit.
        backend: "torch"; "openvino", which compiles for each image size (local and pooled networks on a CPU,
            needs hfsr[openvino], bf16 only where the CPU has it); "auto" uses it for local networks, if it
            is installed and the image is large enough. None is "torch", but "auto" for models in 8-bit
            integers, which gain no speed in torch.
        device: "cpu", "cuda", "cuda:N", "mps" or "xpu"; None uses CUDA if available. MPS and XPU are
            untested.
        self_ensemble: average the results of the eight flips and transposes, in float: eight times the work,
            and one float32 copy of the result in memory (or in a file).

    The weights are those that the model has when an image begins, so that it may be trained between two
    images, but not while one runs. A model on another device or in another dtype or mode is copied.

    Attributes:
        scale: output px per input px, unless an image is reduced to a smaller scale or to a size.
        models: the networks, in the order in which they run.

    Raises:
        OptionsError: a value is not allowed, or not supported on this machine.
    """

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        *,
        tile: int | str | None = "auto",
        dtype: str | torch.dtype | None = "auto",
        backend: str | None = None,
        device: str | torch.device | None = None,
        self_ensemble: bool = False,
    ) -> None:
        models = check_models(model)
        self.tile = parse_tile(tile)
        self.device = choose_device(device)
        dtype = "auto" if dtype is None else dtype
        self._chosen_dtypes = [choose_dtype(dtype, each, self.device) for each in models]
        self._is_auto_dtype = dtype == "auto"
        self._asked_backends = [
            ("auto" if input_ranges(each) else "torch") if backend is None else backend for each in models
        ]
        self._chosen_backends = [
            choose_backend(asked, each, self.device, chosen)
            for asked, each, chosen in zip(self._asked_backends, models, self._chosen_dtypes, strict=True)
        ]
        self._given = models
        self._states = [ModelState.of(each) for each in models]
        self.models = tuple(_ready(each, self.device) for each in models)
        self.scale: int | float = math.prod(_scale(each) for each in models)
        self._notes: tuple[str, ...] = ()
        self.self_ensemble = check_flag("self_ensemble", self_ensemble)
        if self_ensemble and any(_scale(each) != int(_scale(each)) for each in models):
            raise OptionsError(
                f"self-ensemble needs a whole scale, not {self.scale:g}: flips would not align"
            )
        self._runners: dict[tuple[int, torch.dtype], Runner] = {}
        self._chain = self._chain_for(bits=8)

    # How the last image was run, or the first one will be

    @property
    def model(self) -> nn.Module:
        """The network; the last one of several."""
        return self.models[-1]

    @property
    def _runner(self) -> Runner:
        return self._chain[-1]

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes and losses of the last image, for example "only the first of 3 pages was read"."""
        return (*self._notes, *(note for runner in self._chain for note in runner.notes))

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the arithmetic."""
        return self._runner.dtype

    @property
    def dtype_name(self) -> str:
        """Short name of the dtype: fp32, bf16 or fp16."""
        return dtype_name(self.dtype)

    @property
    def used_tile(self) -> int | str:
        """Side of a tile in px, 0 for the whole image, or a name.

        "rows:32" are bands of 32 rows, "windowed:64" overlapping tiles of 64 px, which approximate the whole
        image.
        """
        return self._runner.used_tile

    @property
    def backend(self) -> str:
        """Backend: torch or openvino."""
        return self._runner.backend

    @property
    def backend_reason(self) -> str | None:
        """Reason for the backend of the last image if "auto" chose it, else None."""
        if self._asked_backends[-1] != "auto":
            return None
        if (reason := reason_for_torch(self.model, self.device, self.dtype)) is not None:
            return reason
        if self.backend == "torch":
            return "the image is small: compiling the network would take longer than it saves"
        return "the image is large enough to compile the network for it"

    @property
    def name(self) -> str:
        """The network and its scale: "EDSR x2"; several as "EDSR x4, EDSR x2"."""
        return ", ".join(network_name(each) for each in self.models)

    @property
    def summary(self) -> str:
        """Network, scale, tile, dtype, backend and device in one line."""
        return f"{self.name}, tile {self.used_tile}, {self.dtype_name}, {self.backend} on {self.device}"

    # Images

    @overload
    def __call__(
        self,
        image: Image.Image | str | Path | bytes | BinaryIO,
        progress: Callable[[Progress], None] | None = None,
        *,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> Image.Image: ...

    @overload
    def __call__(
        self,
        image: NDArray,
        progress: Callable[[Progress], None] | None = None,
        *,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> NDArray: ...

    @overload
    def __call__(
        self,
        image: list[Image.Image | str | Path | bytes | BinaryIO | NDArray],
        progress: Callable[[Progress], None] | None = None,
        *,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> list[Image.Image | NDArray]: ...

    def __call__(
        self,
        image: Image.Image
        | str
        | Path
        | bytes
        | BinaryIO
        | NDArray
        | list[Image.Image | str | Path | bytes | BinaryIO | NDArray],
        progress: Callable[[Progress], None] | None = None,
        *,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> Image.Image | NDArray | list[Image.Image | NDArray]:
        """Upscales one image, or each image of a list.

        Args:
            image: a PIL image, a path, the bytes of an image file or an open binary file (returns a PIL
                image, 8 bit), or an array (H, W, 3) or (H, W), RGB, uint8, uint16 or float32 in [0, 1]
                (returns an array of its type, (H*scale, W*scale, ...)). A list returns a list of results.
            progress: called after each part.
            scale: a number from 1 to that of the model: its result is reduced in float by an antialiased
                bicubic filter to floor(side * scale) px, then rounded.
            size: (width, height) of the result in px, reached in the same way; not with `scale`. Where one of
                them is None, it follows in proportion.

        Raises:
            ImageError: it is not an image, or contains NaN.
            OptionsError: a scale or size that the model does not reach, or below that of the image.
        """
        wanted = WantedSize.parse(scale, size)
        return drain(self._call_steps(image, wanted), check_progress(progress))

    def tensor(
        self,
        x: Tensor,
        progress: Callable[[Progress], None] | None = None,
        *,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> Tensor:
        """Upscales images given as a tensor, one after another.

        Args:
            x: RGB in [0, 1], float, (B, 3, H, W), on any device.
            progress: called after each part.
            scale: as for an image.
            size: as for an image.

        Returns:
            RGB, nominally [0, 1], not clamped, float32, (B, 3, H*scale, W*scale), on the CPU.

        Raises:
            ImageError: not floats, or of another shape.
            OptionsError: a scale or size that the model does not reach, or below that of the image.
        """
        x, wanted = check_tensor(x), WantedSize.parse(scale, size)
        pipeline = self._pipeline(8, Size(*x.shape[-2:]), wanted)
        return drain(_each_of(pipeline, x), check_progress(progress))

    def file(
        self,
        source: ImageFile,
        target: str | Path,
        *,
        jpeg_quality: int = 95,
        max_pixels: int | None = None,
        truncated: bool = False,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> None:
        """Upscales an image file to an image file; see `steps`."""
        steps = self.steps(
            source,
            target,
            jpeg_quality=jpeg_quality,
            max_pixels=max_pixels,
            truncated=truncated,
            scale=scale,
            size=size,
        )
        for _ in steps:
            pass

    def steps(
        self,
        source: ImageFile | images.LoadedImage,
        target: str | Path,
        *,
        jpeg_quality: int = 95,
        max_pixels: int | None = None,
        truncated: bool = False,
        scale: float | None = None,
        size: tuple[int | None, int | None] | None = None,
        encoder: Executor | None = None,
    ) -> Generator[Progress, None, Future[None] | None]:
        """Upscales an image file to an image file, yielding after each part.

        The target appears when the last part is done; closing the generator before leaves nothing behind.

        Args:
            source: a path, the bytes of an image file, an open binary file, or the result of
                `hfsr.images.read_image(..., floats=True)`.
            target: a path whose suffix is that of a format which hfsr writes.
            jpeg_quality: 1 to 100, for JPEG and AVIF.
            max_pixels: width times height above which nothing is decoded.
            truncated: read what a JPEG that was cut short still holds.
            scale: as for an image.
            size: as for an image.
            encoder: one thread that encodes, while this one computes. The generator then returns a future,
                whose end is that of the file, and another image can be computed in the meantime.

        Raises:
            ImageError: the source cannot be read, or the target cannot be written; raised before the work if
                possible.
            OptionsError: an argument of the wrong type, or a scale or size that the model does not reach.
        """
        check_file_arguments(source, target, jpeg_quality, max_pixels)
        wanted, target = WantedSize.parse(scale, size), Path(target)
        format_name = images.output_format(target)
        if not isinstance(source, images.LoadedImage):
            limit = images.MAX_PIXELS if max_pixels is None else max_pixels
            source = images.read_image(
                source, max_pixels=limit, truncated=check_flag("truncated", truncated), floats=True
            )
        image = images.fitted(source, format_name)
        del source
        pipeline = self._pipeline_for(image, wanted)
        height, width = pipeline.result_size(Size(image.height, image.width))
        images.check_target(
            target, width=width, height=height, alpha=image.alpha is not None, jpeg_quality=jpeg_quality
        )
        if images.takes_rows(target):
            file = images.open_rows(target, like=image, width=width, height=height)
            return (yield from _write_rows(pipeline, image, file, encoder))
        result = yield from pipeline.image(image)
        if encoder is not None:
            return encoder.submit(images.write_image, result, target, jpeg_quality=jpeg_quality)
        images.write_image(result, target, jpeg_quality=jpeg_quality)
        return None

    def _call_steps(self, image: Any, wanted: WantedSize) -> Generator[Progress, None, Any]:
        """Runs what a caller gave; returns its result."""
        if isinstance(image, (list, tuple)):
            results = []
            for index, each in enumerate(image):
                try:
                    if isinstance(each, (list, tuple)):
                        raise ImageError("a list of images has no lists inside")
                    run = self._call_steps(each, wanted)
                    results.append((yield from one_pass(index, len(image), run)))
                except (ImageError, OptionsError) as error:
                    raise type(error)(f"image {index + 1} of {len(image)}: {error}") from error
            return results
        if isinstance(image, np.ndarray):
            check_array(image)
            bits = 16 if image.dtype == np.uint16 else 8
            pipeline = self._pipeline(bits, Size(*image.shape[:2]), wanted)
            return (yield from pipeline.array(image))
        loaded = images.open_image(image)
        return images.image_to_pil((yield from self._pipeline_for(loaded, wanted).image(loaded)))

    # Prediction

    def result_size(self, size: Size) -> Size:
        """Height and width of the result of an image, where neither a scale nor a size is given."""
        check_size("size", size)
        return ImagePipeline(self._chain).result_size(size)

    def plan(self, width: int, height: int, bits: int = 8) -> Plan | OverlapPlan:
        """Tile or band size, memory and arithmetic of an image of this size and bit depth.

        Of several networks, that of the last one, which runs on the largest image.

        Raises:
            OptionsError: width or height are no whole numbers above 0, or bits are not 8, 16 or 32.
        """
        check_size("width and height", (width, height), bits)
        self._chain = self._chain_for(bits)
        sizes = ImagePipeline(self._chain).sizes(Size(height, width))
        return self._runner.plan(sizes[-2])

    @torch.inference_mode()
    def forecast(
        self, width: int, height: int, bits: int = 8, *, result: tuple[int, int] | None = None
    ) -> Forecast:
        """Peak memory, time and arithmetic of upscaling an image file to a PNG.

        The first call for a size takes a second or a few: every distinct operator runs on a band.

        Args:
            width: of the image, px.
            height: of the image, px.
            bits: per channel.
            result: (width, height) if the result is reduced to a size.

        Raises:
            OptionsError: as of `plan`.
        """
        check_size("width and height", (width, height), bits)
        if result is not None:
            check_size("result", result)
        runs, resident = len(VIEWS) if self.self_ensemble else 1, resident_memory()
        self._chain = self._chain_for(bits)
        sizes = ImagePipeline(self._chain).sizes(Size(height, width))
        last = sizes[-1] if result is None else Size(result[1], result[0])
        peak, seconds, flops, kept = 0, predict_encoding_seconds(last), 0.0, 0
        for runner, size, output in zip(self._chain, sizes, sizes[1:], strict=False):
            plan = runner.plan(size)
            with disable_tf32(runner.dtype, self.device):
                seconds += runs * runner.seconds(size, plan)
            held = (4 * 3 * output.height * output.width) if self.self_ensemble else 0
            written = 0 if runner is self._runner else _KEPT_BYTES * output.height * output.width
            plan_bytes = plan.memory_bytes + held + kept + written
            kept = written
            here = predict_peak_memory(plan_bytes, resident, size, output, on_cpu=self.device.type == "cpu")
            peak, flops = max(peak, here), flops + runs * plan.flops
        return Forecast(peak, seconds, flops)

    # Runners

    def _chain_for(self, bits: int) -> tuple[Runner, ...]:
        """Selects the runners for this bit depth, for the weights that the given models have now."""
        self._follow_models()
        return tuple(self._runner_for(index, bits) for index in range(len(self.models)))

    def _follow_models(self) -> None:
        """Prepares the models again whose weights or mode changed since the last image."""
        for index, (given, before) in enumerate(zip(self._given, self._states, strict=True)):
            state = ModelState.of(given)
            if state == before:
                continue
            self.models = (
                *self.models[:index],
                _ready(given, self.device),
                *self.models[index + 1 :],
            )
            self._runners = {key: runner for key, runner in self._runners.items() if key[0] != index}
            self._states[index] = state

    def _runner_for(self, index: int, bits: int) -> Runner:
        dtype = torch.float32 if self._is_auto_dtype and bits > 8 else self._chosen_dtypes[index]
        runner = self._runners.get((index, dtype))
        if runner is None:
            backend = self._chosen_backends[index]
            runner = self._runners[index, dtype] = Runner(
                self.models[index],
                tile=self.tile,
                dtype=dtype,
                backend=backend,
                force_backend=self._asked_backends[index] == backend,
                device=self.device,
            )
        return runner

    def _pipeline(self, bits: int, size: Size, wanted: WantedSize) -> ImagePipeline:
        """The image pipeline for this bit depth, to the wanted size of an image of `size`."""
        self._chain = self._chain_for(bits)
        self._notes = ()
        for runner in self._chain:
            runner.notes = ()
        target = wanted.within(size, self.result_size(size), self.scale) if wanted.is_set else None
        return ImagePipeline(self._chain, self.self_ensemble, target, wanted.scales(size))

    def _pipeline_for(self, image: images.LoadedImage, wanted: WantedSize) -> ImagePipeline:
        """The image pipeline for an image; collects its notes."""
        pipeline = self._pipeline(image.bits, Size(image.height, image.width), wanted)
        self._notes = image.notes + wanted.notes(Size(image.height, image.width))
        if image.bits > 8 and self.dtype != torch.float32:
            self._notes += (f"computed in {self.dtype_name}, which is coarser than 16 bit; fp32 is not",)
        return pipeline


def _write_rows(
    pipeline: ImagePipeline,
    image: images.LoadedImage,
    file: AbstractContextManager[RowWriter],
    encoder: Executor | None,
) -> Generator[Progress, None, Future[None] | None]:
    """Runs an image and writes the rows of its result; returns the future of the file of an encoder."""
    if encoder is None:
        with file as writer:
            yield from pipeline.rows(image, writer.write)
        return None
    rows = images.BackgroundRows(encoder, file)
    try:
        yield from pipeline.rows(image, rows.write)
    except BaseException as error:
        rows.abort(error)
        raise
    return rows.finish()


def _each_of(pipeline: ImagePipeline, x: Tensor) -> Generator[Progress, None, Tensor]:
    """Runs the images of a batch; returns their results as a batch."""
    results = []
    for index in range(len(x)):
        run = pipeline.tensor(x[index : index + 1])
        results.append((yield from one_pass(index, len(x), run)))
    return results[0] if len(results) == 1 else torch.cat(results)


def _scale(model: nn.Module) -> int | float:
    return getattr(model, "scale", 1)


def _ready(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself if it is in evaluation mode, float32 and on the device, else such a copy."""
    tensors = [*model.parameters(), *model.buffers()]
    is_ready = all(t.device == device and t.dtype in (torch.float32, torch.int64) for t in tensors)
    if is_ready and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=torch.float32).eval()
