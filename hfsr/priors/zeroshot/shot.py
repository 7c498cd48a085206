"""`ZeroShot`: enlarges a picture by a network that learns from that picture alone."""

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
from hfsr.images.colour import rgb_to_y
from hfsr.inference.image_io.pixel_source import PixelSource
from hfsr.inference.progress import drain
from hfsr.inference.runtime.memory import free_memory
from hfsr.inference.runtime.precision import choose_device, choose_dtype, dtype_name
from hfsr.priors.progress import Clock, FitProgress
from hfsr.priors.scaling import Scaling

from .enlarging import Enlarger
from .estimate import estimate_kernel
from .forecasting import TRIED, Forecast, forecast
from .learning import Fathers, Learner, Recipe, fresh_network
from .settings import checked_noise, checked_scale, checked_source, schedule_of

__all__ = ["ZeroShot"]

SMALLEST = 16
"""Px of the shorter side below which there is nothing to learn from."""
_REAL_NOISE = 0.0125 * 255
"""Grey levels: what the paper adds to the sons of a photograph whose kernel and noise nobody knows."""
_REAL_SMALLEST = 0.75
_USABLE = 0.4
"""Share of the free memory that enlarging may take."""
_TELL_EVERY = 10
"""Iterations between two reports."""


class ZeroShot:
    """Enlarges pictures without any weights: for each, a small network learns to undo its reduction.

    Args:
        scale: SR px per LR px, 1 to 8, real; two numbers for across and down.
        kernel: how the picture was reduced: "bicubic" (antialiased, as MATLAB's), "estimate" (roughly, from
            the picture; whole scales only), a file (.npy, .txt, .mat, .png), or weights over SR px, (h, w).
        shift: whether the kernel's centre of mass is put into the middle of an LR px; False for pictures that
            were blurred and then plainly subsampled from their first px on.
        noise: standard deviation of the picture's noise in grey levels of 8 bit: it is not enlarged. None: 0,
            or 3.2 with `real`.
        gradual: in six steps of growing scale, each learning from the results of those before: slower, a
            little better.
        real: a photograph of which nothing is known: one copy, no back-projection, milder fathers.
        dtype: of the convolutions: "fp32", "bf16", or "auto": bf16 where the device has it natively.
        device: "cpu", "cuda", "cuda:N"; None takes CUDA where there is one.
        seed: of weights and fathers: the same gives the same result on the same machine.
        recipe: how long and how fast to learn.

    Raises:
        OptionsError: a value that is not allowed, or a kernel that is none.
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
        recipe: Recipe | None = None,
    ) -> None:
        self.across, self.down = checked_scale(scale)
        self.device = choose_device(device)
        if dtype == "fp16":
            raise OptionsError("dtype 'fp16' is too narrow to learn in; use bf16 or fp32")
        self.dtype = choose_dtype(dtype, ZSSRNet(num_feat=8, num_conv=2), self.device)
        self.kernel = checked_source(kernel, self.across, self.down)
        self.shift = shift
        self.noise = checked_noise(_REAL_NOISE * real if noise is None else noise) / 255
        self.gradual = gradual
        self.real = real
        self.seed = seed
        recipe = recipe or Recipe()
        self.recipe = replace(recipe, smallest=max(recipe.smallest, _REAL_SMALLEST)) if real else recipe

    @property
    def dtype_name(self) -> str:
        """fp32 or bf16."""
        return dtype_name(self.dtype)

    @property
    def scale_name(self) -> str:
        """ "2", or "1.5x2" where it differs across and down."""
        across, down = f"{self.across:g}", f"{self.down:g}"
        return across if across == down else f"{across}x{down}"

    # Pictures

    def __call__(
        self,
        image: Image.Image | str | Path | NDArray,
        progress: Callable[[FitProgress], None] | None = None,
    ) -> Image.Image | NDArray:
        """Enlarges one picture.

        Args:
            image: a PIL picture or a path (gives a PIL picture, 8 bit), or an array (H, W, 3) or (H, W), RGB,
                uint8, uint16 or float32 in [0, 1] (gives an array of the same type).
            progress: called while it learns and enlarges.

        Raises:
            ImageError: not a picture, or one too small to learn from.
        """
        if isinstance(image, np.ndarray):
            return drain(self._array_steps(image), progress)
        return images.picture_to_pil(drain(self.picture_steps(images.open_picture(image)), progress))

    def file(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> None:
        """Enlarges a picture file to a picture file; see `steps`."""
        for _ in self.steps(source, target, jpeg_quality=jpeg_quality, max_pixels=max_pixels):
            pass

    def steps(
        self, source: str | Path, target: str | Path, *, jpeg_quality: int = 95, max_pixels: int | None = None
    ) -> Generator[FitProgress, None, None]:
        """Enlarges a picture file to a picture file, yielding while it learns and enlarges.

        The target appears at the end; closing the generator before leaves nothing behind.

        Raises:
            ImageError: the source cannot be read, is too small, or the target cannot be written.
        """
        target = Path(target)
        images.output_format(target)  # what cannot be written is said before the work
        picture = images.read_picture(
            Path(source), **({} if max_pixels is None else {"max_pixels": max_pixels})
        )
        height, width = self._scaling(None).sr_size(picture.height, picture.width)
        images.check_target(
            target, width=width, height=height, alpha=picture.alpha is not None, jpeg_quality=jpeg_quality
        )
        images.write_picture((yield from self.picture_steps(picture)), target, jpeg_quality=jpeg_quality)

    def picture_steps(self, picture: images.Picture) -> Generator[FitProgress, None, images.Picture]:
        """Enlarges a picture; opacity by bicubic, colours underlaid where they cannot be seen."""
        if picture.alpha is None:
            return replace(picture, pixels=(yield from self._array_steps(picture.pixels)))
        scaling = self._scaling(None)
        size = scaling.sr_size(picture.height, picture.width)
        enlarged = scaling.enlarge(images.to_rgb_float(picture.alpha), size)
        alpha = images.from_rgb_float(enlarged, picture.alpha.dtype, gray=True)
        pixels = yield from self._array_steps(images.underlaid(picture.pixels, picture.alpha))
        return replace(picture, pixels=pixels, alpha=alpha)

    def forecast(self, width: int, height: int) -> Forecast:
        """What a picture of this size will take, from a few trial steps.

        Raises:
            ImageError: it is too small to learn from.
        """
        self.check_size(width, height)
        scaling = self._scaling(None)
        sides = [min(width, height, self.recipe.crop), min(width, height, TRIED)]
        rng = torch.Generator().manual_seed(0)
        crop, tried = (torch.rand(1, 3, side, side, generator=rng) for side in sides)
        learner = self._learner(fresh_network(self.seed, self.device), scaling, [crop])
        rounds = len(schedule_of(scaling, gradual=self.gradual))
        return forecast(learner, self._enlarger(learner), tried, (height, width), rounds)

    # The run

    def _array_steps(self, array: NDArray) -> Generator[FitProgress, None, NDArray]:
        pixels = PixelSource(array, torch.device("cpu"))
        return pixels.result((yield from self._tensor_steps(pixels.whole())))

    def _tensor_steps(self, lq: Tensor) -> Generator[FitProgress, None, Tensor]:
        """Learns from a picture and enlarges it, (1, 3, h, w) to (1, 3, H, W), float32."""
        self.check_size(lq.shape[3], lq.shape[2])
        kernel: NDArray | None
        if isinstance(self.kernel, str):
            yield FitProgress(0, 1, None, stage="estimating the kernel")
            kernel = estimate_kernel(_luma(lq), round(self.down), seed=self.seed)
        else:
            kernel = self.kernel
        network = fresh_network(self.seed, self.device)
        schedule = schedule_of(self._scaling(kernel), gradual=self.gradual)
        known = [lq]
        for number, scaling in enumerate(schedule, start=1):
            of = f" {number}/{len(schedule)}" if len(schedule) > 1 else ""
            learner = self._learner(network, scaling, known)
            yield from self._learn(learner, Clock(f"learning{of}", self.recipe.iterations))
            sr = torch.empty(1, 3, *scaling.sr_size(lq.shape[2], lq.shape[3]))
            clock: Clock | None = None
            for done, total in self._enlarger(learner).steps(lq, sr):
                clock = clock or Clock(f"enlarging{of}", total)
                yield clock.at(done)
            known.append(sr.clamp(0, 1))
        return sr

    def _learn(self, learner: Learner, clock: Clock) -> Generator[FitProgress, None, None]:
        loss = None
        for loss in learner.run():
            if learner.iteration % _TELL_EVERY == 0:
                yield clock.at(learner.iteration, loss)
        yield FitProgress(learner.iteration, learner.iteration, 0.0, stage=clock.stage, loss=loss)

    def _learner(self, network: ZSSRNet, scaling: Scaling, known: list[Tensor]) -> Learner:
        pictures = [picture.to(self.device) for picture in known]
        fathers = Fathers(pictures, self.recipe, np.random.default_rng(self.seed))
        return Learner(network, scaling, fathers, pictures[0], noise=self.noise, dtype=self.dtype)

    def _enlarger(self, learner: Learner) -> Enlarger:
        return Enlarger(
            learner.network,
            learner.scaling,
            folds=1 if self.real else 8,
            projects=not self.real and self.noise == 0,  # it would put the noise back
            dtype=self.dtype_name,
            device=self.device,
            memory=_USABLE * free_memory(torch.device("cpu")),
        )

    def _scaling(self, kernel: NDArray | None) -> Scaling:
        return Scaling(self.across, self.down, kernel, self.shift)

    def check_size(self, width: int, height: int) -> None:
        """Raises ImageError where a picture of this size is too small to learn from."""
        need = max(SMALLEST, round(4 * max(self.across, self.down)))
        if min(width, height) < need:
            raise ImageError(
                f"a picture of {width}x{height} px is too small to learn from; need {need}x{need} px, "
                "or upscale it with a model"
            )


def _luma(lq: Tensor) -> Tensor:
    """Luma in [0, 1], (1, 1, h, w)."""
    pixels = lq[0].permute(1, 2, 0).numpy() * 255
    return torch.from_numpy(rgb_to_y(pixels) / 255).float()[None, None]
