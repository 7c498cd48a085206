"""`ZeroShot`: upscales an image with a network that is trained on that image only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hfsr import images
from hfsr.archs.zssr import ZSSRNet
from hfsr.errors import ImageError, OptionsError
from hfsr.images.color import rgb_to_y
from hfsr.inference.image_io.pixel_source import PixelSource
from hfsr.inference.progress import drain
from hfsr.inference.runtime.memory import free_memory
from hfsr.inference.runtime.precision import choose_device, choose_dtype, dtype_name
from hfsr.priors.fit_progress import FitProgress, StageTimer
from hfsr.priors.resampling import Resampler

from .argument_checks import check_noise, check_scale, gradual_resamplers, load_kernel
from .cost_estimate import TRIAL_SIDE, CostEstimate, estimate_cost
from .kernel_estimation import estimate_kernel
from .self_training import FatherSampler, ZeroShotConfig, ZeroShotTrainer, create_network
from .tiled_inference import BandedUpscaler

__all__ = ["ZeroShot"]

MIN_SIDE = 16
"""Minimum side in px of an image to train on."""
_REAL_NOISE = 0.0125 * 255
"""Noise in 8-bit gray levels that the paper adds to the sons of photos with unknown kernel and noise."""
_REAL_MIN_SCALE = 0.75
_MEMORY_SHARE = 0.4
"""Share of the free memory that upscaling may use."""
_REPORT_INTERVAL = 10
"""Iterations between two progress reports."""


class ZeroShot:
    """Upscales images without pretrained weights: trains a small network on each image.

    Args:
        scale: SR px per LR px, 1 to 8, real; a pair gives the horizontal and the vertical scale.
        kernel: blur kernel of the downsampling that made the image: "bicubic" (antialiased, as MATLAB's),
            "estimate" (a rough estimate from the image; integer scales only), a file (.npy, .txt, .mat,
            .png), or weights over SR px, (h, w).
        shift: True aligns the kernel's center of mass with the center of an LR px; False is for images that
            were blurred and then subsampled from their first px on.
        noise: standard deviation of the image's noise in 8-bit gray levels, which is then not amplified.
            None: 0, or 3.2 with `real`.
        gradual: upscale in six steps of increasing scale; each trains on the results of the previous ones.
            Slower, slightly better.
        real: settings for photos of unknown origin: no self-ensemble, no back-projection, fathers that are
            downsampled less.
        dtype: dtype of the convolutions: "fp32", "bf16", or "auto" (bf16 if the device supports it natively).
        device: "cpu", "cuda", "cuda:N"; None uses CUDA if available.
        seed: seed of weights and fathers; the same seed gives the same result on the same machine.
        config: training settings.

    Attributes:
        notes: changes and losses of the last file's reading and writing, one sentence each.

    Raises:
        OptionsError: a value is out of range, or the kernel is invalid.
    """

    def __init__(
        self,
        *,
        scale: float | tuple[float, float] = 2,
        kernel: str | Path | NDArray = "bicubic",
        shift: bool = True,
        noise: float | None = None,
        gradual: bool = False,
        real: bool = False,
        dtype: str = "auto",
        device: str | torch.device | None = None,
        seed: int = 0,
        config: ZeroShotConfig | None = None,
    ) -> None:
        self.scale_x, self.scale_y = check_scale(scale)
        self.device = choose_device(device)
        if dtype == "fp16":
            raise OptionsError("dtype 'fp16' is not precise enough for training; use bf16 or fp32")
        self.dtype = choose_dtype(dtype, ZSSRNet(num_feat=8, num_conv=2), self.device)
        self.kernel = load_kernel(kernel, self.scale_x, self.scale_y)
        self.shift = shift
        self.noise = check_noise(_REAL_NOISE * real if noise is None else noise) / 255
        self.gradual = gradual
        self.real = real
        self.seed = seed
        self.notes: tuple[str, ...] = ()
        config = config or ZeroShotConfig()
        self.config = replace(config, min_scale=max(config.min_scale, _REAL_MIN_SCALE)) if real else config

    @property
    def dtype_name(self) -> str:
        """Name of the dtype: fp32 or bf16."""
        return dtype_name(self.dtype)

    @property
    def scale_name(self) -> str:
        """Scale as text: "2", or "1.5x2" if horizontal and vertical scale differ."""
        scale_x, scale_y = f"{self.scale_x:g}", f"{self.scale_y:g}"
        return scale_x if scale_x == scale_y else f"{scale_x}x{scale_y}"

    # Images

    def __call__(
        self,
        image: Image.Image | str | Path | NDArray,
        progress: Callable[[FitProgress], None] | None = None,
    ) -> Image.Image | NDArray:
        """Upscales one image.

        Args:
            image: a PIL image or a path (returns a PIL image, 8 bit), or an array (H, W, 3) or (H, W), RGB,
                uint8, uint16 or float32 in [0, 1] (returns an array of the same dtype).
            progress: called with each progress report.

        Raises:
            ImageError: the input is not an image, or is too small to train on.
        """
        if isinstance(image, np.ndarray):
            return drain(self._array_steps(image), progress)
        return images.image_to_pil(drain(self.image_steps(images.open_image(image)), progress))

    def file(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> None:
        """Upscales an image file to an image file; see `steps`."""
        for _ in self.steps(source, target, jpeg_quality=jpeg_quality, max_pixels=max_pixels):
            pass

    def steps(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> Generator[FitProgress, None, None]:
        """Upscales an image file to an image file; yields progress.

        The target is written at the end; closing the generator earlier leaves no file.

        Raises:
            ImageError: the source cannot be read or is too small, or the target cannot be written.
        """
        target = Path(target)
        format_name = images.output_format(target)  # raises before the work if the format cannot be written
        image = images.read_image(Path(source), max_pixels=max_pixels or images.MAX_PIXELS)
        image = images.fitted(image, format_name)
        self.notes = image.notes
        height, width = self._resampler(None).sr_size(image.height, image.width)
        images.check_target(
            target, width=width, height=height, alpha=image.alpha is not None, jpeg_quality=jpeg_quality
        )
        images.write_image((yield from self.image_steps(image)), target, jpeg_quality=jpeg_quality)

    def image_steps(self, image: images.LoadedImage) -> Generator[FitProgress, None, images.LoadedImage]:
        """Upscales an image and returns it; yields progress.

        Alpha is upscaled by bicubic interpolation. Fully transparent pixels get colors from their
        surroundings.
        """
        if image.alpha is None:
            return replace(image, pixels=(yield from self._array_steps(image.pixels)))
        resampler = self._resampler(None)
        size = resampler.sr_size(image.height, image.width)
        upsampled = resampler.upsample(images.to_rgb_float(image.alpha), size)
        alpha = images.from_rgb_float(upsampled, image.alpha.dtype, gray=True)
        pixels = yield from self._array_steps(images.underlaid(image.pixels, image.alpha))
        return replace(image, pixels=pixels, alpha=alpha)

    def estimate_cost(self, width: int, height: int) -> CostEstimate:
        """Estimates time and memory for an image of this size, from a few trial steps.

        Raises:
            ImageError: the image is too small to train on.
        """
        self.check_size(width, height)
        resampler = self._resampler(None)
        sides = [min(width, height, self.config.crop), min(width, height, TRIAL_SIDE)]
        rng = torch.Generator().manual_seed(0)
        crop, trial = (torch.rand(1, 3, side, side, generator=rng) for side in sides)
        trainer = self._trainer(create_network(self.seed, self.device), resampler, [crop])
        rounds = len(gradual_resamplers(resampler, gradual=self.gradual))
        return estimate_cost(trainer, self._upscaler(trainer), trial, (height, width), rounds)

    # Training and upscaling

    def _array_steps(self, array: NDArray) -> Generator[FitProgress, None, NDArray]:
        pixels = PixelSource(array, torch.device("cpu"))
        return pixels.result((yield from self._tensor_steps(pixels.whole())))

    def _tensor_steps(self, lq: Tensor) -> Generator[FitProgress, None, Tensor]:
        """Trains on an image and upscales it, (1, 3, h, w) to (1, 3, H, W), float32."""
        self.check_size(lq.shape[3], lq.shape[2])
        kernel: NDArray | None
        if isinstance(self.kernel, str):
            yield FitProgress(0, 1, None, stage="estimating the kernel")
            kernel = estimate_kernel(_luma(lq), round(self.scale_y), seed=self.seed)
        else:
            kernel = self.kernel
        network = create_network(self.seed, self.device)
        resamplers = gradual_resamplers(self._resampler(kernel), gradual=self.gradual)
        known = [lq]
        for number, resampler in enumerate(resamplers, start=1):
            suffix = f" {number}/{len(resamplers)}" if len(resamplers) > 1 else ""
            trainer = self._trainer(network, resampler, known)
            yield from self._train(trainer, StageTimer(f"learning{suffix}", self.config.iterations))
            sr = torch.empty(1, 3, *resampler.sr_size(lq.shape[2], lq.shape[3]))
            timer: StageTimer | None = None
            for done, total in self._upscaler(trainer).steps(lq, sr):
                timer = timer or StageTimer(f"upscaling{suffix}", total)
                yield timer.progress(done)
            known.append(sr.clamp(0, 1))
        return sr

    def _train(self, trainer: ZeroShotTrainer, timer: StageTimer) -> Generator[FitProgress, None, None]:
        loss = None
        for loss in trainer.run():
            if trainer.iteration % _REPORT_INTERVAL == 0:
                yield timer.progress(trainer.iteration, loss)
        yield FitProgress(trainer.iteration, trainer.iteration, 0.0, stage=timer.stage, loss=loss)

    def _trainer(self, network: ZSSRNet, resampler: Resampler, known: list[Tensor]) -> ZeroShotTrainer:
        tensors = [image.to(self.device) for image in known]
        sampler = FatherSampler(tensors, self.config, np.random.default_rng(self.seed))
        return ZeroShotTrainer(network, resampler, sampler, tensors[0], noise=self.noise, dtype=self.dtype)

    def _upscaler(self, trainer: ZeroShotTrainer) -> BandedUpscaler:
        return BandedUpscaler(
            trainer.network,
            trainer.resampler,
            ensemble_size=1 if self.real else 8,
            back_project=not self.real and self.noise == 0,  # back-projection would restore the noise
            dtype=self.dtype_name,
            device=self.device,
            memory=_MEMORY_SHARE * free_memory(torch.device("cpu")),
        )

    def _resampler(self, kernel: NDArray | None) -> Resampler:
        return Resampler(self.scale_x, self.scale_y, kernel, self.shift)

    def check_size(self, width: int, height: int) -> None:
        """Raises ImageError if an image of this size is too small to train on."""
        need = max(MIN_SIDE, round(4 * max(self.scale_x, self.scale_y)))
        if min(width, height) < need:
            raise ImageError(
                f"an image of {width}x{height} px is too small to learn from; it needs at least "
                f"{need}x{need} px; smaller images can be upscaled with a model"
            )


def _luma(lq: Tensor) -> Tensor:
    """Returns the luma in [0, 1], (1, 1, h, w), of RGB in [0, 1], (1, 3, h, w)."""
    pixels = lq[0].permute(1, 2, 0).numpy() * 255
    return torch.from_numpy(rgb_to_y(pixels) / 255).float()[None, None]
