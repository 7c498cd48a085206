"""Fit of a generator to a degraded image: best of many random starts, then layer-by-layer unfreezing."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.priors.fit_progress import FitProgress, StageTimer

from .fit_schedules import FitSchedule
from .forward_models import ForwardModel
from .instance_norm import freeze_norms

__all__ = ["FitResult", "GeneratorFitter"]

_BATCH = 10
_SEARCH_FEATURES = 3
"""Discriminator features that the search for a start compares, counted from the last."""
_BETAS = (0.0, 0.999)


@dataclass(frozen=True, eq=False)
class FitResult:
    """Result of a fit.

    Attributes:
        generator: the fitted copy of the generator.
        z, embedding: latent vector and class embedding of the fitted image, (1, dim_z) and (1, shared_dim).
        class_number: class from which the embedding started.
        stages: image after each stage, RGB in [0, 1], (1, 3, S, S); the last one is the result.
    """

    generator: BigGANGenerator
    z: Tensor
    embedding: Tensor
    class_number: int
    stages: tuple[Tensor, ...]

    @property
    def image(self) -> Tensor:
        """The fitted image, (1, 3, S, S)."""
        return self.stages[-1]


@dataclass(frozen=True, eq=False)
class GeneratorFitter:
    """Fits copies of a generator; the loss compares features of a discriminator.

    Attributes:
        generator, discriminator: networks of the same resolution, in evaluation mode; they are not changed.
        candidates: number of random starts.
        seed: seed of the random starts.
    """

    generator: BigGANGenerator
    discriminator: BigGANDiscriminator
    candidates: int = 500
    seed: int = 0

    def steps(
        self,
        target: Tensor,
        forward_model: ForwardModel,
        schedule: FitSchedule,
        class_number: int | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Fits to a degraded image; yields progress and returns the result.

        Args:
            target: the degraded image, RGB in [0, 1], (1, 3, S, S), on the generator's device.
            forward_model: degradation that turned the unknown image into `target`.
            schedule: stages, learning rates and loss weights.
            class_number: class of the image's content; None searches over classes too.
        """
        target_features = [feature.detach() for feature in self._features(target, schedule.features)]
        z, number = yield from self._search_start(target, forward_model, schedule.z_std, class_number)
        generator = copy.deepcopy(self.generator)
        embedding = generator.shared.weight[number][None].detach().clone()
        if schedule.instance_norm:
            freeze_norms(generator, z, embedding)
        z.requires_grad_()
        embedding.requires_grad_(schedule.optimize_class)
        groups = weight_groups(generator, embedding if schedule.optimize_class else None)
        optimizer = torch.optim.Adam([{"params": [z]}, *({"params": g} for g in groups)], lr=0, betas=_BETAS)
        images = []
        for stage, iterations in enumerate(schedule.iterations):
            _configure_stage(generator, groups, optimizer, schedule, stage)
            timer = StageTimer(f"stage {stage + 1}/{schedule.num_stages}", iterations)
            for iteration in range(iterations):
                optimizer.zero_grad(set_to_none=True)
                with torch.enable_grad():
                    image = forward_model(generator(z, embedding))
                    loss = self._loss(image, target, target_features, schedule, stage)
                    loss = loss + schedule.weight_nll * z.square().mean() / 2
                    loss.backward()
                optimizer.step()
                yield timer.progress(iteration + 1, float(loss.detach()))
            with torch.no_grad():
                images.append(generator(z, embedding))
        generator.requires_grad_(False)
        return FitResult(generator, z.detach(), embedding.detach(), number, tuple(images))

    def _loss(
        self, image: Tensor, target: Tensor, target_features: list[Tensor], schedule: FitSchedule, stage: int
    ) -> Tensor:
        loss = image.new_zeros(())
        if schedule.weight_d[stage]:
            features = self._features(image, schedule.features)
            pairs = zip(features, target_features, strict=True)
            loss = loss + schedule.weight_d[stage] * torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()
        if schedule.weight_mse[stage]:
            # The published weights are for images in [-1, 1], whose differences are twice as large.
            loss = loss + schedule.weight_mse[stage] * 4 * F.mse_loss(image, target)
        return loss

    def _features(self, image: Tensor, count: int) -> list[Tensor]:
        return self.discriminator.features(image)[-count:]

    @torch.no_grad()
    def _feature_distance(self, images: Tensor, target_features: list[Tensor]) -> Tensor:
        """Returns the distance of each image from the target in feature space, (B,)."""
        features = self._features(images, len(target_features))
        return torch.stack(
            [(a - b).abs().flatten(1).mean(1) for a, b in zip(features, target_features, strict=True)]
        ).sum(0)

    def _search_start(
        self, target: Tensor, forward_model: ForwardModel, z_std: float, class_number: int | None
    ) -> Generator[FitProgress, None, tuple[Tensor, int]]:
        """Tries random starts; returns the latent vector, (1, dim_z), and the class of the best one."""
        rng = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            target_features = self._features(target, _SEARCH_FEATURES)
        best, found = float("inf"), (torch.zeros(1, self.generator.dim_z), 0)
        timer = StageTimer("searching a start", self.candidates)
        for first in range(0, self.candidates, _BATCH):
            count = min(_BATCH, self.candidates - first)
            z = z_std * torch.randn(count, self.generator.dim_z, generator=rng)
            classes = torch.randint(self.generator.shared.num_embeddings, (count,), generator=rng)
            if class_number is not None:
                classes.fill_(class_number)
            with torch.no_grad():
                embeddings = self.generator.shared(classes.to(target.device))
                images = forward_model(self.generator(z.to(target.device), embeddings))
                distances = self._feature_distance(images, target_features)
            nearest = int(distances.argmin())
            if float(distances[nearest]) < best:
                best = float(distances[nearest])
                found = z[nearest : nearest + 1].clone(), int(classes[nearest])
            yield timer.progress(first + count, best)
        return found[0].to(target.device), found[1]


def weight_groups(
    generator: BigGANGenerator, embedding: Tensor | None = None
) -> list[list[nn.Parameter | Tensor]]:
    """Returns the groups of weights that are unfrozen in turn, from coarse to fine.

    The first group is the linear layer (and the embedding, if given); each block is one more. The output
    layer belongs to no group and stays frozen.
    """
    first: list[nn.Parameter | Tensor] = list(generator.linear.parameters())
    if embedding is not None:
        first.append(embedding)
    blocks: list[list[nn.Parameter | Tensor]] = [[*parts.parameters()] for parts in generator.blocks]
    return [first, *blocks]


def _configure_stage(
    generator: BigGANGenerator,
    groups: list[list[nn.Parameter | Tensor]],
    optimizer: torch.optim.Optimizer,
    schedule: FitSchedule,
    stage: int,
) -> None:
    """Sets the learning rates of a stage, and `requires_grad` for the groups that it optimizes."""
    generator.requires_grad_(False)
    rate = schedule.lr_g[stage]
    optimizer.param_groups[0]["lr"] = schedule.lr_z[stage]
    for number, (group, settings) in enumerate(zip(groups, optimizer.param_groups[1:], strict=True)):
        is_trained = number < schedule.depth[stage]
        settings["lr"] = rate * schedule.lr_ratio[stage] ** number if is_trained else 0.0
        for tensor in group:
            tensor.requires_grad_(is_trained)
