"""`Upscaler`: the one way in which the commands, the Space and Python run networks on images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hfsr import images
from hfsr.errors import OptionsError
from hfsr.model_zoo import restorer_of_rgb

from .approximate.overlapping_tiles import OverlapPlan
from .arguments import check_flag, check_model, check_tensor, parse_tile
from .backends import choose_backend
from .image_io.self_ensemble import VIEWS
from .image_pipeline import ImagePipeline
from .planning.forecast import Forecast, predict_encoding_seconds, predict_peak_memory
from .planning.planner import Plan
from .program.geometry import Size
from .progress import Progress, drain
from .runner import Runner, network_name
from .runtime.memory import resident_memory
from .runtime.precision import choose_device, choose_dtype, disable_tf32, dtype_name

__all__ = ["Progress", "Upscaler"]


class Upscaler:
    """Runs a network on images of any size, exactly, in bounded memory.

    Args:
        model: a restorer (see `hfsr.from_pretrained`, `hfsr.create_model`). It is not changed.
        tile: largest side in LR px of what one tile owns; "auto" chooses it from the free memory, 0 runs
            whole. The result does not depend on it: within 1e-5 of the range in fp32. Only the overlapping
            tiles of a network with attention over the whole image are approximate; `used_tile` reports it.
        dtype: "fp32", "bf16", "fp16" (or torch's dtypes), or "auto": bf16 if the device has it natively and
            the network allows it, but fp32 for images and arrays of 16 bit: bf16 has 8 significant bits, and
            its error, invisible in 8 bit, is hundreds of levels of 16 bit. Floats count as 8 bit.
        backend: "torch"; "openvino", which compiles for each image size (local and pooled networks on a CPU,
            needs hfsr[openvino]); "auto" uses it for local networks, if it is installed and the image is
            large enough.
        device: "cpu", "cuda", "cuda:N"; None uses CUDA if available.
        self_ensemble: average the results of the eight flips and transposes, in float: eight times the work,
            and one float32 copy of the result in memory (or in a file).

    Attributes:
        scale: output px per input px.
        notes: changes and losses of the last image in reading and writing ("only the first of 3 pages was
            read").

    Raises:
        OptionsError: a value is not allowed, or not supported on this machine.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        tile: int | str | None = "auto",
        dtype: str | torch.dtype | None = "auto",
        backend: str | None = "torch",
        device: str | torch.device | None = None,
        self_ensemble: bool = False,
    ) -> None:
        model = restorer_of_rgb(check_model(model))
        self.tile = parse_tile(tile)
        self.device = choose_device(device)
        dtype = "auto" if dtype is None else dtype
        backend = "torch" if backend is None else backend
        self._chosen_dtype = choose_dtype(dtype, model, self.device)
        self._is_auto_dtype = dtype == "auto"
        self._chosen_backend = choose_backend(backend, model, self.device)
        self._force_backend = backend == self._chosen_backend
        self.model = _ready(model, self.device)
        self.scale: int | float = getattr(model, "scale", 1)
        self.notes: tuple[str, ...] = ()
        self.self_ensemble = check_flag("self_ensemble", self_ensemble)
        if self_ensemble and self.scale != int(self.scale):
            raise OptionsError(
                f"self-ensemble needs a whole scale, not {self.scale:g}: flips would not align"
            )
        self._runners: dict[torch.dtype, Runner] = {}
        self._runner = self._runner_for(bits=8)

    # How the last image was run, or the first one will be

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
        """Side of a tile in px, 0 for whole, "rows:32" for bands of 32 rows, "windowed:64" for overlapping
        tiles of 64 px, which approximate the whole image.
        """
        return self._runner.used_tile

    @property
    def backend(self) -> str:
        """Backend: torch or openvino."""
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

    @overload
    def __call__(
        self, image: Image.Image | str | Path, progress: Callable[[Progress], None] | None = None
    ) -> Image.Image: ...

    @overload
    def __call__(self, image: NDArray, progress: Callable[[Progress], None] | None = None) -> NDArray: ...

    def __call__(
        self, image: Image.Image | str | Path | NDArray, progress: Callable[[Progress], None] | None = None
    ) -> Image.Image | NDArray:
        """Upscales one image.

        Args:
            image: a PIL image or a path (returns a PIL image, 8 bit), or an array (H, W, 3) or (H, W), RGB,
                uint8, uint16 or float32 in [0, 1] (returns an array of its type, (H*scale, W*scale, ...)).
            progress: called after each part.

        Raises:
            ImageError: it is not an image, or contains NaN.
        """
        if isinstance(image, np.ndarray):
            pipeline = self._pipeline(16 if image.dtype == np.uint16 else 8)
            return drain(pipeline.array(image), progress)
        loaded = images.open_image(image)
        pipeline = self._pipeline_for(loaded)
        return images.image_to_pil(drain(pipeline.image(loaded), progress))

    def tensor(self, x: Tensor, progress: Callable[[Progress], None] | None = None) -> Tensor:
        """Upscales one image given as a tensor.

        Args:
            x: RGB in [0, 1], float, (1, 3, H, W), on any device.

        Returns:
            RGB, nominally [0, 1], not clamped, float32, (1, 3, H*scale, W*scale), on the CPU.

        Raises:
            ImageError: not floats, or of another shape.
        """
        return drain(self._pipeline(bits=8).tensor(check_tensor(x)), progress)

    def file(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> None:
        """Upscales an image file to an image file; see `steps`."""
        for _ in self.steps(source, target, jpeg_quality=jpeg_quality, max_pixels=max_pixels):
            pass

    def steps(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> Generator[Progress, None, None]:
        """Upscales an image file to an image file, yielding after each part.

        The target appears when the last part is done; closing the generator before leaves nothing behind.

        Raises:
            ImageError: the source cannot be read, or the target cannot be written; raised before the work if
                possible.
        """
        target = Path(target)
        format_name = images.output_format(target)
        limit = {} if max_pixels is None else {"max_pixels": max_pixels}
        image = images.fitted(images.read_image(Path(source), **limit), format_name)
        pipeline = self._pipeline_for(image)
        height, width = self.result_size(Size(image.height, image.width))
        images.check_target(
            target, width=width, height=height, alpha=image.alpha is not None, jpeg_quality=jpeg_quality
        )
        if images.takes_rows(target):
            with images.open_rows(target, like=image, width=width, height=height) as writer:
                yield from pipeline.rows(image, writer.write)
            return
        result = yield from pipeline.image(image)
        images.write_image(result, target, jpeg_quality=jpeg_quality)

    # Prediction

    def result_size(self, size: Size) -> Size:
        """Height and width of the result of an image."""
        return self._runner.result_size(size)

    def plan(self, width: int, height: int, bits: int = 8) -> Plan | OverlapPlan:
        """Tile or band size, memory and arithmetic of an image of this size and bit depth."""
        self._runner = self._runner_for(bits)
        return self._runner.plan(Size(height, width))

    @torch.inference_mode()
    def forecast(self, width: int, height: int, bits: int = 8) -> Forecast:
        """Peak memory and time of upscaling an image file of this size and bit depth to a PNG.

        The first call for a size takes a second or a few: every distinct operator runs on a band.
        """
        size, runs = Size(height, width), len(VIEWS) if self.self_ensemble else 1
        result, resident = self.result_size(size), resident_memory()
        plan = self.plan(width, height, bits)
        held = (4 * 3 * result.height * result.width) if self.self_ensemble else 0
        held += plan.memory_bytes
        with disable_tf32(self.dtype, self.device):
            seconds = self._runner.seconds(size, plan)
        peak = predict_peak_memory(held, resident, size, result, on_cpu=self.device.type == "cpu")
        return Forecast(peak, runs * seconds + predict_encoding_seconds(result))

    # Runners

    def _runner_for(self, bits: int) -> Runner:
        """Selects the runner for this bit depth."""
        dtype = torch.float32 if self._is_auto_dtype and bits > 8 else self._chosen_dtype
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

    def _pipeline(self, bits: int) -> ImagePipeline:
        """The image pipeline for this bit depth."""
        self._runner = self._runner_for(bits)
        return ImagePipeline(self._runner, self.self_ensemble)

    def _pipeline_for(self, image: images.LoadedImage) -> ImagePipeline:
        """The image pipeline for an image; collects its notes."""
        pipeline = self._pipeline(image.bits)
        self.notes = image.notes
        if image.bits > 8 and self.dtype != torch.float32:
            self.notes += (f"computed in {self.dtype_name}, which is coarser than 16 bit; fp32 is not",)
        return pipeline


def _ready(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself if it is in evaluation mode, float32 and on the device, else such a copy."""
    tensors = [*model.parameters(), *model.buffers()]
    is_ready = all(t.device == device and t.dtype in (torch.float32, torch.int64) for t in tensors)
    if is_ready and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=torch.float32).eval()
