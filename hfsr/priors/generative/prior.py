"""`GenerativePrior`: pictures restored and changed by what a generator knows of the world."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hfsr import images
from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.errors import CheckpointError, ImageError, OptionsError
from hfsr.inference.runtime.precision import choose_device
from hfsr.priors.progress import FitProgress

from .degrading import REDUCTION, Degradation, enlarged_by_lines, grayed, holed, reduced, unchanged
from .fitting import Fit, Fitter
from .forecasting import forecast
from .framing import framed, known_of, pasted, square_of, square_picture
from .lab import lab_to_rgb, rgb_to_lab
from .schedules import Schedule, find_schedule

__all__ = ["GenerativePrior", "Outcome"]

Steps = Generator[FitProgress, None, "Outcome"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a picture.

    Attributes:
        pictures: the result; of `jitter` and `morph` several.
        stages: the picture after each stage of the fit; of `morph`, first those of the first picture.
        class_number: the class it was taken for; of `morph`, the first picture's.
    """

    pictures: tuple[images.Picture, ...]
    stages: tuple[images.Picture, ...]
    class_number: int


class GenerativePrior:
    """Finds a picture among those that a generator makes, and returns what was taken from it.

    Each task is a generator of progress that returns an `Outcome`; closing it cancels. Pictures are cut to a
    square and brought to the network's size: that is the size of the result.

    Args:
        generator, discriminator: BigGAN's, of one resolution (`hfsr.from_pretrained`).
        candidates: how many random starts are tried; the best one is fitted.
        seed: of those.
        device: "cpu", "cuda", "cuda:N"; None takes CUDA where there is one.

    Attributes:
        resolution: side of the results, px.
        num_class: classes that the generator knows.

    Raises:
        CheckpointError: not such networks, or of two resolutions.
        OptionsError: no candidates, or no such device.
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
            raise CheckpointError(f"{type(generator).__name__} is no generator; give BigGAN's, as G_ema_128")
        if not isinstance(discriminator, BigGANDiscriminator):
            raise CheckpointError(
                f"{type(discriminator).__name__} is no discriminator; give BigGAN's, as D_128"
            )
        if generator.resolution != discriminator.resolution:
            raise CheckpointError(
                f"the generator makes {generator.resolution} px and the discriminator judges "
                f"{discriminator.resolution}; give two of one resolution"
            )
        if candidates < 1:
            raise OptionsError(f"{candidates} candidates are not possible; use 1 or more")
        self.device = choose_device(device)
        self.resolution = generator.resolution
        self.num_class = generator.shared.num_embeddings
        self.fitter = Fitter(
            copy.deepcopy(generator).to(self.device).eval().requires_grad_(False),
            copy.deepcopy(discriminator).to(self.device).eval().requires_grad_(False),
            candidates=candidates,
            seed=seed,
        )

    def schedule(self, task: str, *, bias: str = "d", iterations: int | None = None) -> Schedule:
        """The published schedule of a task at this resolution; see `find_schedule`."""
        return find_schedule(task, self.resolution, bias=bias, iterations=iterations)

    # Tasks

    def sr(
        self, picture: images.Picture, *, schedule: Schedule | None = None, class_number: int | None = None
    ) -> Steps:
        """Enlarges four times what has a quarter of the network's side; larger pictures are reduced to that.

        Raises:
            ImageError: the picture is smaller.
            OptionsError: no such class.
        """
        self.check(picture, class_number)
        small = framed(picture, square_of(picture), self.resolution // REDUCTION)
        fit = yield from self._fit(
            enlarged_by_lines(small), reduced, schedule or self.schedule("sr"), class_number
        )
        return self._outcome(picture, fit, fit.picture)

    def colorize(
        self, picture: images.Picture, *, schedule: Schedule | None = None, class_number: int | None = None
    ) -> Steps:
        """Gives a picture colours; its lightness stays. Errors as of `sr`."""
        self.check(picture, class_number)
        gray = grayed(framed(picture, square_of(picture), self.resolution))
        fit = yield from self._fit(gray, grayed, schedule or self.schedule("colorize"), class_number)
        return self._outcome(picture, fit, _with_lightness(gray, fit.picture.cpu()))

    def inpaint(
        self,
        picture: images.Picture,
        hole: NDArray[np.bool_],
        *,
        schedule: Schedule | None = None,
        class_number: int | None = None,
        paste_back: bool = False,
    ) -> Steps:
        """Fills a hole; what is known stays.

        Args:
            picture: what is in the hole does not count.
            hole: True where the picture is missing, (H, W) (`brushed`, `checked_hole`).
            schedule: default the published one.
            class_number: of what is in the picture; None looks for one.
            paste_back: return the whole picture with its hole filled, not the network's square.

        Raises:
            ImageError: nothing is known, or the hole does not fit in a square of the picture.
            OptionsError: no such class.
        """
        self.check(picture, class_number)
        square = square_of(picture, hole)
        known = known_of(hole, square, self.resolution)
        target = holed(known)(framed(picture, square, self.resolution))
        degrade = holed(known.to(self.device))
        fit = yield from self._fit(target, degrade, schedule or self.schedule("inpaint"), class_number)
        found = fit.picture.cpu()
        outcome = self._outcome(picture, fit, target * known + found * (1 - known))
        if paste_back:
            return replace(outcome, pictures=(pasted(picture, square, hole, found),))
        return outcome

    def jitter(
        self,
        picture: images.Picture,
        *,
        count: int = 8,
        strength: float = 0.5,
        to_class: int | None = None,
        schedule: Schedule | None = None,
        class_number: int | None = None,
    ) -> Steps:
        """Variants of a picture: the fitted latent numbers, shaken.

        Args:
            picture: what to vary.
            count: how many variants.
            strength: standard deviation of what is added to the latent numbers.
            to_class: make them of another class.
            schedule, class_number: as for `inpaint`.

        Raises:
            ImageError: the picture is too small.
            OptionsError: no such class, or nothing to make.
        """
        self.check(picture, class_number)
        self._check_class(to_class)
        if count < 1 or strength < 0:
            raise OptionsError(
                f"{count} variants of strength {strength:g} are not possible; use 1 or more, from 0"
            )
        target = framed(picture, square_of(picture), self.resolution)
        fit = yield from self._fit(target, unchanged, schedule or self.schedule("jitter"), class_number)
        rng = torch.Generator().manual_seed(self.fitter.seed)
        with torch.no_grad():
            embedding = fit.embedding
            if to_class is not None:
                embedding = fit.generator.shared.weight[to_class][None]
            noise = [torch.randn(fit.z.shape, generator=rng).to(fit.z) for _ in range(count)]
            varied = [fit.generator(fit.z + strength * n, embedding) for n in noise]
        return self._outcome(picture, fit, *varied)

    def morph(
        self,
        first: images.Picture,
        second: images.Picture,
        *,
        frames: int = 11,
        schedule: Schedule | None = None,
        class_number: int | None = None,
    ) -> Steps:
        """The way from one picture to another, through latent numbers, classes and weights at once.

        Args:
            first, second: where it begins and ends.
            frames: pictures on the way, both ends among them.
            schedule, class_number: as for `inpaint`; the class is that of both.

        Raises:
            ImageError: a picture is too small.
            OptionsError: no such class, or fewer than two frames.
        """
        if frames < 2:
            raise OptionsError(f"{frames} frames are no way; use 2 or more")
        schedule = schedule or self.schedule("morph")
        fits = []
        for picture in (first, second):
            self.check(picture, class_number)
        for picture in (first, second):
            target = framed(picture, square_of(picture), self.resolution)
            fits.append((yield from self._fit(target, unchanged, schedule, class_number)))
        shares = np.linspace(0, 1, frames)
        outcome = self._outcome(first, fits[0], *(_between(fits[0], fits[1], float(s)) for s in shares))
        return replace(outcome, stages=outcome.stages + self._outcome(second, fits[1]).stages)

    def forecast(self, schedule: Schedule) -> tuple[float, int]:
        """Seconds and peak bytes that one fit will take, from a few trial steps on this machine just now."""
        return forecast(self.fitter, schedule)

    # What they share

    def _fit(
        self, target: Tensor, degrade: Degradation, schedule: Schedule, class_number: int | None
    ) -> Generator[FitProgress, None, Fit]:
        return (yield from self.fitter.steps(target.to(self.device), degrade, schedule, class_number))

    def check(
        self, picture: images.Picture, class_number: int | None, hole: NDArray[np.bool_] | None = None
    ) -> None:
        """Says before the work what cannot be fitted.

        Raises:
            ImageError: the picture is too small, or not enough of it can be seen beside the hole.
            OptionsError: no such class.
        """
        need = self.resolution // REDUCTION
        if min(picture.width, picture.height) < need:
            raise ImageError(
                f"a picture of {picture.width}x{picture.height} px is too small for this prior; "
                f"need {need}x{need}"
            )
        if hole is not None:
            known_of(hole, square_of(picture, hole), self.resolution)
        self._check_class(class_number)

    def _check_class(self, number: int | None) -> None:
        if number is not None and not 0 <= number < self.num_class:
            raise OptionsError(
                f"class {number} is out of range; this generator knows 0 to {self.num_class - 1}"
            )

    def _outcome(self, picture: images.Picture, fit: Fit, *results: Tensor) -> Outcome:
        return Outcome(
            tuple(square_picture(result, picture) for result in results),
            tuple(square_picture(stage, picture) for stage in fit.stages),
            fit.class_number,
        )


def _with_lightness(gray: Tensor, coloured: Tensor) -> Tensor:
    """The colours of one picture at the lightness of another, both (1, 3, S, S) in [0, 1]."""
    light, colour = (rgb_to_lab(x[0].permute(1, 2, 0).numpy()) for x in (gray, coloured))
    mixed = lab_to_rgb(np.concatenate([light[..., :1], colour[..., 1:]], -1))
    return torch.from_numpy(mixed).float().permute(2, 0, 1)[None]


@torch.no_grad()
def _between(first: Fit, second: Fit, share: float) -> Tensor:
    """The picture so far on the way between two fits, (1, 3, S, S)."""
    generator = copy.deepcopy(first.generator)
    ends = first.generator.state_dict(), second.generator.state_dict()
    generator.load_state_dict({name: torch.lerp(ends[0][name], ends[1][name], share) for name in ends[0]})
    z = torch.lerp(first.z, second.z, share)
    return generator(z, torch.lerp(first.embedding, second.embedding, share))
