"""Adversarial training: a discriminator learns to distinguish outputs from ground truth.

SRGANModel: SRGAN (Ledig et al., CVPR 2017, https://arxiv.org/abs/1609.04802); with `texture_opt` EnhanceNet
(Sajjadi et al., ICCV 2017, https://arxiv.org/abs/1612.07919).
ESRGANModel: ESRGAN (Wang et al., ECCVW 2018, https://arxiv.org/abs/1809.00219), whose discriminator predicts
by how much an image is more real than the mean of the other kind.
Keys of options and names in logs are BasicSR's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.losses import artifact_map
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

from .auxiliary_networks import build_partner, needed, options_of_partner
from .base import Recipe
from .content_losses import CONTENT_OPTIONS, Content, build_loss, check_sharpening, training_of
from .distributed_mean import global_mean
from .scale_adapter import ScaleAdapter, check_scales
from .trainable_network import TrainableNetwork

__all__ = ["EsrganRecipe", "GanRecipe", "SrganRecipe"]

Scores = dict[str, Tensor]
Logits = tuple[Tensor, Tensor]
"""Logits of ground truth and of outputs."""


class GanRecipe(Recipe):
    """One step of the network and one of the discriminator, each over all batches of the iteration."""

    options_read = (
        CONTENT_OPTIONS
        | options_of_partner("d")
        | {"train.gan_opt", "train.optim_d", "train.net_d_iters", "train.net_d_init_iters"}
        | {"train.ldl_opt", "train.usm.gan"}
    )
    compares = False
    """True if the loss of an image depends on the logits of the other images in its batch."""

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        self.train = train = training_of(options)
        check_scales(options)
        section = needed(train.gan_opt, "train.gan_opt", options, "{type: GANLoss, gan_type: vanilla}")
        optim_d = needed(train.optim_d, "train.optim_d", options, "{type: Adam, lr: 1e-4}")
        net_d = build_partner(options, "d", "{type: VGGStyleDiscriminator}", like=net_g)
        check_sharpening(options)
        self.content, self.adversarial = Content(options, "l_g_"), build_loss(section)
        self.artifacts = build_loss(train.ldl_opt) if train.ldl_opt else None
        if self.artifacts is not None and not train.ema_decay:
            raise OptionsError(
                "train.ldl_opt: compares with the averaged network; set train.ema_decay, for example 0.999"
            )
        self.criteria = [self.content, self.adversarial, *([self.artifacts] if self.artifacts else [])]
        self.learners = {
            "net_g": TrainableNetwork(
                net_g,
                train.optim_g,
                train,
                groups=train.param_groups,
                ema_decay=train.ema_decay,
                runs=ScaleAdapter(net_g),
            ),
            "net_d": TrainableNetwork(net_d, optim_d, train, runs=_OnBoth(net_d)),
        }

    @abstractmethod
    def generator_loss(self, sr: Tensor, gt: Tensor, others: Sequence[Logits] = ()) -> Tensor:
        """Returns the adversarial loss of the outputs; `others` is a result of `_others`."""

    @abstractmethod
    def discriminator_losses(
        self, real: Tensor, fake: Tensor, others: Sequence[Logits] = ()
    ) -> tuple[Tensor, Tensor]:
        """Returns the discriminator's losses on logits of real and of fake images; `others` likewise."""

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        train = self.train
        learns = iteration > train.net_d_init_iters and iteration % train.net_d_iters == 0
        total: Scores = {}
        outputs = self._step_of_network(batches, total, learns=learns)
        self._step_of_discriminator(batches, outputs, total)
        return total

    def _step_of_network(self, batches: Sequence[Batch], total: Scores, *, learns: bool) -> list[Tensor]:
        """Runs the network's step and returns its outputs."""
        net_g, outputs = self.learners["net_g"], []
        others = self._others(
            ((self._real(batch), net_g.forward_no_grad(batch["lq"])) for batch in batches), len(batches)
        )
        for number, (batch, beside) in enumerate(zip(batches, others, strict=True), 1):
            with net_g.synchronized(learns and number == len(batches)), torch.set_grad_enabled(learns):
                sr = net_g(batch["lq"])
                losses = self.content(sr, batch["gt"], batch.get("gt_usm"))
                if self.artifacts is not None:
                    losses["l_g_ldl"] = self._artifact_loss(sr, batch)
                losses["l_g_gan"] = self.generator_loss(sr, self._real(batch), beside)
                if learns:
                    self.accelerator.backward(torch.stack(list(losses.values())).sum() / len(batches))
            outputs.append(sr.detach())
            _add(total, losses, len(batches))
        if learns:
            net_g.update()
        return outputs

    def _real(self, batch: Batch) -> Tensor:
        """Returns the ground truth that the discriminator receives."""
        sharp = self.train.usm is not None and self.train.usm.gan
        return batch["gt_usm"] if sharp else batch["gt"]

    def _artifact_loss(self, sr: Tensor, batch: Batch) -> Tensor:
        """`ldl_opt` between output and ground truth, both weighted by the map of likely artifacts."""
        average = self.learners["net_g"].average
        if self.artifacts is None or average is None:
            raise RuntimeError("ldl_opt was checked when the recipe was built")
        with torch.no_grad():
            averaged = average.network(batch["lq"])
        weights = artifact_map(batch["gt"], sr, averaged)
        return self.artifacts(weights * sr, weights * batch["gt"])

    def _step_of_discriminator(
        self, batches: Sequence[Batch], outputs: Sequence[Tensor], total: Scores
    ) -> None:
        net_d = self.learners["net_d"]
        pairs = [(self._real(batch), sr) for batch, sr in zip(batches, outputs, strict=True)]
        for number, (pair, beside) in enumerate(zip(pairs, self._others(pairs, len(pairs)), strict=True), 1):
            with net_d.synchronized(number == len(pairs)):
                real, fake = net_d(*pair)
                l_real, l_fake = self.discriminator_losses(real, fake, beside)
                self.accelerator.backward((l_real + l_fake) / len(pairs))
            scores = {"l_d_real": l_real, "l_d_fake": l_fake}
            scores |= {"out_d_real": real.mean(), "out_d_fake": fake.mean()}
            _add(total, scores, len(pairs))
        net_d.update()

    def _others(self, pairs: Iterable[tuple[Tensor, Tensor]], steps: int) -> Sequence[Sequence[Logits]]:
        """Returns, for each accumulation step, the logits of the other steps if a loss compares them.

        The logits have no gradients.

        Args:
            pairs: ground truth and output of each step; not consumed if no loss compares logits.
            steps: number of steps.
        """
        if steps == 1 or not self.compares:
            return [()] * steps
        logits = [self.learners["net_d"].forward_no_grad(*pair) for pair in pairs]
        return [logits[:step] + logits[step + 1 :] for step in range(steps)]


class _OnBoth(nn.Module):
    """Runs a discriminator on two batches with separate batch statistics, in one call of its DDP wrapper."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(real), self.network(fake)


class SrganRecipe(GanRecipe):
    """SRGAN: the discriminator classifies each image separately."""

    def generator_loss(self, sr: Tensor, gt: Tensor, others: Sequence[Logits] = ()) -> Tensor:
        return self.adversarial(self.learners["net_d"].forward_frozen(sr), True)

    def discriminator_losses(
        self, real: Tensor, fake: Tensor, others: Sequence[Logits] = ()
    ) -> tuple[Tensor, Tensor]:
        return self.adversarial(real, True, is_disc=True), self.adversarial(fake, False, is_disc=True)


class EsrganRecipe(GanRecipe):
    """ESRGAN: the discriminator compares each image with the mean of the other kind.

    `ragan: sum` is the paper: both terms count, and the discriminator's gradient flows through the means too.
    `ragan: half` is BasicSR: half of each term, and the discriminator takes the means as constants. A mean is
    over the whole batch of an iteration: over all processes, and over all gradient accumulation steps. With
    accumulation, one more pass of both networks provides the logits of the other steps to each step.
    """

    options_read = GanRecipe.options_read | {"train.ragan"}
    compares = True

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        super().__init__(options, net_g)
        self.share = {"half": 0.5, "sum": 1.0}[self.train.ragan]

    def generator_loss(self, sr: Tensor, gt: Tensor, others: Sequence[Logits] = ()) -> Tensor:
        with torch.no_grad():
            real = self.learners["net_d"].forward_frozen(gt)
        real, fake = _together((real, self.learners["net_d"].forward_frozen(sr)), others)
        beside_fake = self.adversarial(real - global_mean(fake), False)
        beside_real = self.adversarial(fake - global_mean(real), True)
        return self.share * (beside_fake + beside_real)

    def discriminator_losses(
        self, real: Tensor, fake: Tensor, others: Sequence[Logits] = ()
    ) -> tuple[Tensor, Tensor]:
        real, fake = _together((real, fake), others)
        mean_real, mean_fake = global_mean(real), global_mean(fake)
        if self.train.ragan == "half":
            mean_real, mean_fake = mean_real.detach(), mean_fake.detach()
        l_real = self.adversarial(real - mean_fake, True, is_disc=True)
        l_fake = self.adversarial(fake - mean_real, False, is_disc=True)
        return self.share * l_real, self.share * l_fake


def _together(own: Logits, others: Sequence[Logits]) -> Logits:
    """Returns the logits of all accumulation steps.

    Each step computes the loss of all of them, and `step` divides it by their number. The gradient of a
    step's own logits therefore counts that many times: the gradients add up to those of the one loss.
    """
    if not others:
        return own
    real, fake = (
        torch.cat([x + len(others) * (x - x.detach()), *rest])
        for x, rest in zip(own, zip(*others, strict=True), strict=True)
    )
    return real, fake


def _add(total: Scores, values: Scores, parts: int) -> None:
    for name, value in values.items():
        total[name] = total.get(name, 0) + value.detach() / parts


RECIPES.register(SrganRecipe, name="SRGANModel")
RECIPES.register(EsrganRecipe, name="ESRGANModel")
