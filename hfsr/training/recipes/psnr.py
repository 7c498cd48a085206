"""SRModel: one network and losses against the ground truth, as PSNR-oriented networks are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

from .base import Recipe
from .content_losses import CONTENT_OPTIONS, Content, check_sharpening, training_of
from .distillation import Distillation
from .patch_mixing import Mixture, mixed_up
from .scale_adapter import ScaleAdapter, check_scales
from .trainable_network import TrainableNetwork

__all__ = ["PsnrRecipe", "SingleRecipe", "scale_of"]


class SingleRecipe(Recipe):
    """One network that minimizes the sum of losses that a subclass defines.

    If batches have a scale each, the network runs at that scale.

    Args:
        options: `train.optim_g` and the keys for it.
        net_g: the network.
        method: name of the network's method that is run.
    """

    def __init__(self, options: TrainOptions, net_g: nn.Module, method: str = "forward") -> None:
        self.train, running = training_of(options), ScaleAdapter(net_g, method)
        check_scales(options, running)
        self.learners = {
            "net_g": TrainableNetwork(
                net_g,
                self.train.optim_g,
                self.train,
                groups=self.train.param_groups,
                ema_decay=self.train.ema_decay,
                runs=running,
            )
        }

    @abstractmethod
    def losses(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """Returns the scalars whose sum is minimized, by name."""

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        net_g = self.learners["net_g"]
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, 1):
            with net_g.synchronized(number == len(batches)):
                found = {k: v / len(batches) for k, v in self.losses(batch, iteration).items()}
                self.accelerator.backward(torch.stack(list(found.values())).sum())
            for name, value in found.items():
                total[name] = total.get(name, 0) + value.detach()
        net_g.update()
        return total


class PsnrRecipe(SingleRecipe):
    """Minimizes the losses of `content_losses.Content` that are given.

    `train.mixup` or `train.mixture` mixes the pairs of a batch first; `train.distill_opt` adds the losses of
    a teacher.
    """

    options_read = CONTENT_OPTIONS | {"train.distill_opt", "train.mixup", "train.mixture"}

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        super().__init__(options, net_g)
        check_sharpening(options)
        if self.train.mixup is not None and self.train.mixture is not None:
            raise OptionsError(
                "train.mixture: its mixup takes the place of train.mixup; leave train.mixup out"
            )
        self.mixture = Mixture(options, self.train.mixture) if self.train.mixture else None
        self.content = Content(options)
        self.distillation = Distillation(options, net_g) if self.train.distill_opt else None
        self.criteria = [self.content, *([self.distillation] if self.distillation else [])]

    def losses(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        images = [batch[name] for name in ("lq", "gt", "gt_usm") if name in batch]
        mixup = self.train.mixup
        if (
            mixup is not None
            and iteration > mixup.start_iter
            and (mixup.prob == 1 or torch.rand(()) < mixup.prob)
        ):
            images = mixed_up(images, mixup.alpha)
        if self.mixture is not None:
            images = self.mixture(images, iteration)
        lq, *targets = images
        run = partial(self.learners["net_g"], lq, scale_of(batch))
        sr, taught = self.distillation(lq, run) if self.distillation else (run(), {})
        return {**self.content(sr, *targets), **taught}


def scale_of(batch: Batch) -> float | None:
    """Returns the scale of a batch if batches differ in it, else None."""
    if "scale" not in batch:
        return None
    scale = round(float(batch["scale"].flatten()[0]), 4)  # 1.1 is slightly more in float32
    return int(scale) if scale.is_integer() else scale


RECIPES.register(PsnrRecipe, name="SRModel")
