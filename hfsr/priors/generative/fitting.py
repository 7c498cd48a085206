"""Fits a generator to a degraded picture: the best start of many, then ever more of its weights."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.priors.fit_progress import Clock, FitProgress

from .fit_schedules import Schedule
from .forward_models import Degradation
from .instance_norm import freeze_norms

__all__ = ["Fit", "Fitter"]

_BATCH = 10
_FEATURES_OF_SEARCH = 3
_BETAS = (0.0, 0.999)


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found.

    Attributes:
        generator: the fitted copy.
        z, embedding: what it makes the picture from, (1, dim_z) and (1, shared_dim).
        class_number: of the embedding's start.
        stages: the picture after each stage, RGB in [0, 1], (1, 3, S, S), the last one being the result.
    """

    generator: BigGANGenerator
    z: Tensor
    embedding: Tensor
    class_number: int
    stages: tuple[Tensor, ...]

    @property
    def picture(self) -> Tensor:
        """The result, (1, 3, S, S)."""
        return self.stages[-1]


@dataclass(frozen=True, eq=False)
class Fitter:
    """Fits copies of a generator, by what a discriminator sees.

    Attributes:
        generator, discriminator: of one resolution, in evaluation mode; they are not changed.
        candidates: how many starts are tried.
        seed: of those.
    """

    generator: BigGANGenerator
    discriminator: BigGANDiscriminator
    candidates: int = 500
    seed: int = 0

    def steps(
        self, target: Tensor, degrade: Degradation, schedule: Schedule, class_number: int | None = None
    ) -> Generator[FitProgress, None, Fit]:
        """Fits to a target; yields progress and returns what was found.

        Args:
            target: what the degradation left of the picture, RGB in [0, 1], (1, 3, S, S), on the generator's
                device.
            degrade: makes such a thing of a picture.
            schedule: stages, rates and weights.
            class_number: of what is in the picture; None tries classes too.
        """
        seen = [feature.detach() for feature in self._features(target, schedule.features)]
        z, number = yield from self._search(target, degrade, schedule.z_std, class_number)
        generator = copy.deepcopy(self.generator)
        embedding = generator.shared.weight[number][None].detach().clone()
        if schedule.instance_norm:
            freeze_norms(generator, z, embedding)
        z.requires_grad_()
        embedding.requires_grad_(schedule.moves_class)
        groups = weight_groups(generator, embedding if schedule.moves_class else None)
        optimizer = torch.optim.Adam([{"params": [z]}, *({"params": g} for g in groups)], lr=0, betas=_BETAS)
        pictures = []
        for stage, iterations in enumerate(schedule.iterations):
            _unfreeze(generator, groups, optimizer, schedule, stage)
            clock = Clock(f"stage {stage + 1}/{schedule.stages}", iterations)
            for iteration in range(iterations):
                optimizer.zero_grad(set_to_none=True)
                with torch.enable_grad():
                    picture = degrade(generator(z, embedding))
                    loss = self._loss(picture, target, seen, schedule, stage)
                    loss = loss + schedule.weight_nll * z.square().mean() / 2
                    loss.backward()
                optimizer.step()
                yield clock.at(iteration + 1, float(loss.detach()))
            with torch.no_grad():
                pictures.append(generator(z, embedding))
        generator.requires_grad_(False)
        return Fit(generator, z.detach(), embedding.detach(), number, tuple(pictures))

    def _loss(
        self, picture: Tensor, target: Tensor, seen: list[Tensor], schedule: Schedule, stage: int
    ) -> Tensor:
        loss = picture.new_zeros(())
        if schedule.weight_d[stage]:
            features = self._features(picture, schedule.features)
            pairs = zip(features, seen, strict=True)
            loss = loss + schedule.weight_d[stage] * torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()
        if schedule.weight_mse[stage]:
            # The published weights are for pictures in [-1, 1], which differ by twice as much as ours.
            loss = loss + schedule.weight_mse[stage] * 4 * F.mse_loss(picture, target)
        return loss

    def _features(self, picture: Tensor, count: int) -> list[Tensor]:
        return self.discriminator.features(picture)[-count:]

    @torch.no_grad()
    def _score(self, pictures: Tensor, seen: list[Tensor]) -> Tensor:
        """How far each picture is from what was seen, (B,)."""
        features = self._features(pictures, len(seen))
        return torch.stack(
            [(a - b).abs().flatten(1).mean(1) for a, b in zip(features, seen, strict=True)]
        ).sum(0)

    def _search(
        self, target: Tensor, degrade: Degradation, z_std: float, class_number: int | None
    ) -> Generator[FitProgress, None, tuple[Tensor, int]]:
        """The best of many random starts: its latent numbers, (1, dim_z), and its class."""
        rng = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            seen = self._features(target, _FEATURES_OF_SEARCH)
        best, found = float("inf"), (torch.zeros(1, self.generator.dim_z), 0)
        clock = Clock("searching a start", self.candidates)
        for first in range(0, self.candidates, _BATCH):
            count = min(_BATCH, self.candidates - first)
            z = z_std * torch.randn(count, self.generator.dim_z, generator=rng)
            classes = torch.randint(self.generator.shared.num_embeddings, (count,), generator=rng)
            if class_number is not None:
                classes.fill_(class_number)
            with torch.no_grad():
                embeddings = self.generator.shared(classes.to(target.device))
                scores = self._score(degrade(self.generator(z.to(target.device), embeddings)), seen)
            nearest = int(scores.argmin())
            if float(scores[nearest]) < best:
                best = float(scores[nearest])
                found = z[nearest : nearest + 1].clone(), int(classes[nearest])
            yield clock.at(first + count, best)
        return found[0].to(target.device), found[1]


def weight_groups(
    generator: BigGANGenerator, embedding: Tensor | None = None
) -> list[list[nn.Parameter | Tensor]]:
    """What moves together, from coarse to fine: the first linear layer (and the embedding), then each block.

    The output layer belongs to no group: it never moves.
    """
    first: list[nn.Parameter | Tensor] = list(generator.linear.parameters())
    if embedding is not None:
        first.append(embedding)
    blocks: list[list[nn.Parameter | Tensor]] = [[*parts.parameters()] for parts in generator.blocks]
    return [first, *blocks]


def _unfreeze(
    generator: BigGANGenerator,
    groups: list[list[nn.Parameter | Tensor]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    stage: int,
) -> None:
    """Sets the rates of a stage; what does not move needs no gradient."""
    generator.requires_grad_(False)
    rate = schedule.lr_g[stage]
    optimizer.param_groups[0]["lr"] = schedule.lr_z[stage]
    for number, (group, settings) in enumerate(zip(groups, optimizer.param_groups[1:], strict=True)):
        moves = number < schedule.depth[stage]
        settings["lr"] = rate * schedule.lr_ratio[stage] ** number if moves else 0.0
        for tensor in group:
            tensor.requires_grad_(moves)
