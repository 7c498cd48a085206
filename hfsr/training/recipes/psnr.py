"""SRModel: one network, a pixel loss. What the PSNR-oriented networks are trained with."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.optim import build_optimizer, build_schedule
from hfsr.options import TrainOptions
from hfsr.registry import LOSSES, RECIPES

from ..ema import Ema
from ._recipe import Recipe, prepare_pair

__all__ = ["PsnrRecipe"]


class PsnrRecipe(Recipe):
    """Minimises `train.pixel_opt` between the network's output and the ground truth."""

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        train = options.train
        if train is None or train.pixel_opt is None:
            raise OptionsError(
                "train.pixel_opt: is missing; SRModel needs a pixel loss, for example {type: L1Loss}"
            )
        self.clip_grad_norm = train.clip_grad_norm
        self.criterion = LOSSES[train.pixel_opt.type](**train.pixel_opt.arguments)
        trained = [parameter for parameter in net_g.parameters() if parameter.requires_grad]
        optimizer = build_optimizer(train.optim_g.type, trained, **train.optim_g.arguments)
        scheduler = train.scheduler
        self.networks = {"net_g": net_g}
        self.optimizers = {"net_g": optimizer}
        self.schedules = {
            "net_g": build_schedule(
                scheduler.type if scheduler else None,
                optimizer.defaults["lr"],
                train.warmup_iter,
                **(scheduler.arguments if scheduler else {}),
            )
        }
        self.averages = {"net_g": Ema(net_g, train.ema_decay)} if train.ema_decay > 0 else {}

    def prepare(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.net_g, self.optimizers["net_g"] = prepare_pair(
            accelerator, self.networks["net_g"], self.optimizers["net_g"]
        )
        self.criterion.to(accelerator.device)

    def step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        optimizer = self.optimizers["net_g"]
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, 1):
            last = number == len(batches)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.net_g):
                loss = self.criterion(self.net_g(batch["lq"]), batch["gt"]) / len(batches)
                self.accelerator.backward(loss)
            total += loss.detach()
        if self.clip_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.net_g.parameters(), self.clip_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        return {"l_pix": total}


RECIPES.register(PsnrRecipe, name="SRModel")
