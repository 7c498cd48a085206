"""`GenerativePrior`: restores and edits images with a pretrained BigGAN."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.errors import CheckpointError, ImageError, OptionsError
from hfsr.images import LoadedImage
from hfsr.inference.runtime.precision import choose_device
from hfsr.priors.fit_progress import FitProgress

from .cielab import lab_to_rgb, rgb_to_lab
from .cost_estimate import estimate_cost
from .fit_schedules import FitSchedule, find_schedule
from .fitting import FitResult, GeneratorFitter
from .forward_models import (
    SR_SCALE,
    ForwardModel,
    bilinear_upsample,
    downsample_and_upsample,
    grayscale,
    identity,
    mask_out,
)
from .square_crop import crop_to_tensor, find_square, known_mask, paste_into_hole, tensor_to_image

__all__ = ["GenerativePrior", "PriorResult"]

Steps = Generator[FitProgress, None, "PriorResult"]


@dataclass(frozen=True, eq=False)
class PriorResult:
    """Result of one task.

    Attributes:
        images: the result; several for `jitter` and `morph`.
        stages: the image after each stage of the fit; for `morph`, first those of the first image.
        class_number: class at which the fit started; for `morph`, that of the first image.
    """

    images: tuple[LoadedImage, ...]
    stages: tuple[LoadedImage, ...]
    class_number: int


class GenerativePrior:
    """Restores an image by searching for it among the images that a generator can produce.

    Each task is a Python generator that yields progress and returns a `PriorResult`; closing it cancels the
    task. Images are cropped to a square and resized to the resolution of the network, which is also the size
    of the result.

    Args:
        generator, discriminator: BigGAN networks of the same resolution (`hfsr.from_pretrained`).
        candidates: number of random starts; the best one is fitted.
        seed: seed of the random starts.
        device: "cpu", "cuda", "cuda:N"; None uses CUDA if available.

    Attributes:
        resolution: side of the results, px.
        num_class: number of classes of the generator.

    Raises:
        CheckpointError: the networks are not a BigGAN pair, or differ in resolution.
        OptionsError: `candidates` is less than 1, or the device does not exist.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        candidates: int = 500,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(generator, BigGANGenerator):
            raise CheckpointError(
                f"{type(generator).__name__} is not a BigGAN generator; give one such as G_ema_128"
            )
        if not isinstance(discriminator, BigGANDiscriminator):
            raise CheckpointError(
                f"{type(discriminator).__name__} is not a BigGAN discriminator; give one such as D_128"
            )
        if generator.resolution != discriminator.resolution:
            raise CheckpointError(
                f"the generator has a resolution of {generator.resolution} px and the discriminator of "
                f"{discriminator.resolution} px; give two networks of the same resolution"
            )
        if candidates < 1:
            raise OptionsError(f"{candidates} candidates are not possible; use 1 or more")
        self.device = choose_device(device)
        self.resolution = generator.resolution
        self.num_class = generator.shared.num_embeddings
        self.fitter = GeneratorFitter(
            copy.deepcopy(generator).to(self.device).eval().requires_grad_(False),
            copy.deepcopy(discriminator).to(self.device).eval().requires_grad_(False),
            candidates=candidates,
            seed=seed,
        )

    def schedule(self, task: str, *, bias: str = "d", iterations: int | None = None) -> FitSchedule:
        """Returns the published schedule of a task at this resolution; see `find_schedule`."""
        return find_schedule(task, self.resolution, bias=bias, iterations=iterations)

    # Tasks

    def sr(
        self, image: LoadedImage, *, schedule: FitSchedule | None = None, class_number: int | None = None
    ) -> Steps:
        """Upscales by 4 an image of a quarter of the network's side; larger images are first reduced to that.

        Raises:
            ImageError: the image is smaller than that.
            OptionsError: the class does not exist.
        """
        self.check_inputs(image, class_number)
        small = crop_to_tensor(image, find_square(image), self.resolution // SR_SCALE)
        fit = yield from self._fit(
            bilinear_upsample(small), downsample_and_upsample, schedule or self.schedule("sr"), class_number
        )
        return self._result(image, fit, fit.image)

    def colorize(
        self, image: LoadedImage, *, schedule: FitSchedule | None = None, class_number: int | None = None
    ) -> Steps:
        """Colorizes an image and keeps its lightness; raises the same errors as `sr`."""
        self.check_inputs(image, class_number)
        gray = grayscale(crop_to_tensor(image, find_square(image), self.resolution))
        fit = yield from self._fit(gray, grayscale, schedule or self.schedule("colorize"), class_number)
        return self._result(image, fit, _replace_lightness(gray, fit.image.cpu()))

    def inpaint(
        self,
        image: LoadedImage,
        hole: NDArray[np.bool_],
        *,
        schedule: FitSchedule | None = None,
        class_number: int | None = None,
        paste_back: bool = False,
    ) -> Steps:
        """Fills a hole and keeps the known pixels.

        Args:
            image: pixels inside the hole are ignored.
            hole: True where the image is missing, (H, W) (`hole_from_rectangle`, `hole_from_mask`).
            schedule: None uses the published one.
            class_number: class of the image's content; None searches for one.
            paste_back: return the whole image with its hole filled instead of the network's square.

        Raises:
            ImageError: no pixel is known, or the hole is longer than a square of the image.
            OptionsError: the class does not exist.
        """
        self.check_inputs(image, class_number)
        square = find_square(image, hole)
        known = known_mask(hole, square, self.resolution)
        target = mask_out(known)(crop_to_tensor(image, square, self.resolution))
        forward_model = mask_out(known.to(self.device))
        fit = yield from self._fit(target, forward_model, schedule or self.schedule("inpaint"), class_number)
        found = fit.image.cpu()
        result = self._result(image, fit, target * known + found * (1 - known))
        if paste_back:
            return replace(result, images=(paste_into_hole(image, square, hole, found),))
        return result

    def jitter(
        self,
        image: LoadedImage,
        *,
        count: int = 8,
        strength: float = 0.5,
        to_class: int | None = None,
        schedule: FitSchedule | None = None,
        class_number: int | None = None,
    ) -> Steps:
        """Makes variants of an image by adding noise to its fitted latent vector.

        Args:
            image: the image to vary.
            count: number of variants.
            strength: standard deviation of the noise.
            to_class: class of the variants, if it differs from that of the image.
            schedule: None uses the published one.
            class_number: class of the image's content; None searches for one.

        Raises:
            ImageError: the image is too small.
            OptionsError: the class does not exist, `count` is less than 1, or `strength` is negative.
        """
        self.check_inputs(image, class_number)
        self._check_class(to_class)
        if count < 1 or strength < 0:
            raise OptionsError(
                f"{count} variants of strength {strength:g} are not possible; use a count of 1 or more and "
                "a strength of 0 or more"
            )
        target = crop_to_tensor(image, find_square(image), self.resolution)
        fit = yield from self._fit(target, identity, schedule or self.schedule("jitter"), class_number)
        rng = torch.Generator().manual_seed(self.fitter.seed)
        with torch.no_grad():
            embedding = fit.embedding
            if to_class is not None:
                embedding = fit.generator.shared.weight[to_class][None]
            noise = [torch.randn(fit.z.shape, generator=rng).to(fit.z) for _ in range(count)]
            varied = [fit.generator(fit.z + strength * n, embedding) for n in noise]
        return self._result(image, fit, *varied)

    def morph(
        self,
        first: LoadedImage,
        second: LoadedImage,
        *,
        frames: int = 11,
        schedule: FitSchedule | None = None,
        class_number: int | None = None,
    ) -> Steps:
        """Morphs one image into another: interpolates latent vectors, class embeddings and weights.

        Args:
            first: first frame.
            second: last frame.
            frames: number of frames, including both ends.
            schedule: None uses the published one.
            class_number: class of both images; None searches for one.

        Raises:
            ImageError: an image is too small.
            OptionsError: the class does not exist, or `frames` is less than 2.
        """
        if frames < 2:
            raise OptionsError(f"{frames} frames are not possible; use 2 or more")
        schedule = schedule or self.schedule("morph")
        fits = []
        for image in (first, second):
            self.check_inputs(image, class_number)
        for image in (first, second):
            target = crop_to_tensor(image, find_square(image), self.resolution)
            fits.append((yield from self._fit(target, identity, schedule, class_number)))
        shares = np.linspace(0, 1, frames)
        result = self._result(
            first, fits[0], *(_interpolate_fits(fits[0], fits[1], float(s)) for s in shares)
        )
        return replace(result, stages=result.stages + self._result(second, fits[1]).stages)

    def estimate_cost(self, schedule: FitSchedule) -> tuple[float, int]:
        """Returns the estimated seconds and peak bytes of one fit, from a few trial steps on this machine."""
        return estimate_cost(self.fitter, schedule)

    # Shared by the tasks

    def _fit(
        self, target: Tensor, forward_model: ForwardModel, schedule: FitSchedule, class_number: int | None
    ) -> Generator[FitProgress, None, FitResult]:
        return (yield from self.fitter.steps(target.to(self.device), forward_model, schedule, class_number))

    def check_inputs(
        self, image: LoadedImage, class_number: int | None, hole: NDArray[np.bool_] | None = None
    ) -> None:
        """Checks the inputs of a task before it starts.

        Raises:
            ImageError: the image is too small, or the hole leaves no known pixel.
            OptionsError: the class does not exist.
        """
        need = self.resolution // SR_SCALE
        if min(image.width, image.height) < need:
            raise ImageError(
                f"an image of {image.width}x{image.height} px is too small for this prior; "
                f"it needs {need}x{need} px"
            )
        if hole is not None:
            known_mask(hole, find_square(image, hole), self.resolution)
        self._check_class(class_number)

    def _check_class(self, number: int | None) -> None:
        if number is not None and not 0 <= number < self.num_class:
            raise OptionsError(
                f"class {number} is out of range; this generator has classes 0 to {self.num_class - 1}"
            )

    def _result(self, image: LoadedImage, fit: FitResult, *results: Tensor) -> PriorResult:
        return PriorResult(
            tuple(tensor_to_image(result, image) for result in results),
            tuple(tensor_to_image(stage, image) for stage in fit.stages),
            fit.class_number,
        )


def _replace_lightness(gray: Tensor, colored: Tensor) -> Tensor:
    """Combines the lightness of one image with the color of another, both (1, 3, S, S) in [0, 1]."""
    light, color = (rgb_to_lab(x[0].permute(1, 2, 0).numpy()) for x in (gray, colored))
    mixed = lab_to_rgb(np.concatenate([light[..., :1], color[..., 1:]], -1))
    return torch.from_numpy(mixed).float().permute(2, 0, 1)[None]


@torch.no_grad()
def _interpolate_fits(first: FitResult, second: FitResult, share: float) -> Tensor:
    """Renders the interpolation between two fits, (1, 3, S, S); `share` 0 is the first, 1 the second."""
    generator = copy.deepcopy(first.generator)
    ends = first.generator.state_dict(), second.generator.state_dict()
    generator.load_state_dict({name: torch.lerp(ends[0][name], ends[1][name], share) for name in ends[0]})
    z = torch.lerp(first.z, second.z, share)
    return generator(z, torch.lerp(first.embedding, second.embedding, share))
