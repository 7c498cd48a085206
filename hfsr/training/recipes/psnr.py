"""SRModel: one network, a pixel loss. What the PSNR-oriented networks are trained with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import LOSSES, RECIPES

from ._learner import Learner
from ._recipe import Recipe

__all__ = ["PsnrRecipe"]


class PsnrRecipe(Recipe):
    """Minimises `train.pixel_opt` between the network's output and the ground truth."""

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        train = options.train
        if train is None or train.pixel_opt is None:
            raise OptionsError(
                "train.pixel_opt: is missing; SRModel needs a pixel loss, for example {type: L1Loss}"
            )
        self.criterion = LOSSES[train.pixel_opt.type](**train.pixel_opt.arguments)
        self.criteria = [self.criterion]
        self.learners = {
            "net_g": Learner(
                net_g, train.optim_g, train, groups=train.param_groups, ema_decay=train.ema_decay
            )
        }

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        net_g = self.learners["net_g"]
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, 1):
            with net_g.synchronised(number == len(batches)):
                loss = self.criterion(net_g(batch["lq"]), batch["gt"]) / len(batches)
                self.accelerator.backward(loss)
            total += loss.detach()
        net_g.update()
        return {"l_pix": total}


RECIPES.register(PsnrRecipe, name="SRModel")
