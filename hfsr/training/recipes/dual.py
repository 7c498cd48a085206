"""DualModel: DRN in a closed loop with its dual networks (Guo et al., CVPR 2020).

Paper: https://arxiv.org/abs/2003.07018. The primal network makes a picture at every scale; each dual network
leads one of them back to the scale before.

Adaptation to pictures without ground truth (`datasets.unpaired`) is the paper's too, but not in the authors'
code: the primal loss is switched off for them, and what the dual networks make of the output must be the
input again. The input is known at its own size only, so every output is led back to it link by link; the
paper leaves this open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

from ._content import build_loss, training_of
from ._learner import Learner
from ._partner import build_partner, needed
from ._recipe import Recipe
from ._running import Running
from ._targets import at_scales

__all__ = ["DualRecipe"]


class DualRecipe(Recipe):
    """Minimises `pixel_opt` of all outputs and `dual_opt` of what the dual networks make of them, together.

    One optimizer serves all dual networks: Adam treats every weight by itself, so it is one for each.
    """

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        train = training_of(options)
        if not hasattr(net_g, "pyramid"):
            raise OptionsError(
                f"model_type DualModel needs a network with a pyramid, as DRN, not {type(net_g).__name__}"
            )
        if options.use_amp and not options.amp_bf16:
            raise OptionsError("amp_bf16: false: DualModel works on 0..255, too large for float16; use true")
        example = "{type: L1Loss, loss_weight: 0.1}"
        self.pixel = build_loss(needed(train.pixel_opt, "train.pixel_opt", options, "{type: L1Loss}"))
        self.dual = build_loss(needed(train.dual_opt, "train.dual_opt", options, example))
        self.criteria = [self.pixel, self.dual]
        optim = needed(train.optim_dual, "train.optim_dual", options, "{type: Adam, lr: 1e-4}")
        net_dual = build_partner(options, "dual", "{type: DRNDual, num_feat: 16, upscale: 4}", like=net_g)
        primal = Running(net_g, "pyramid")
        groups, decay = train.param_groups, train.ema_decay
        self.learners = {
            "net_g": Learner(net_g, train.optim_g, train, groups=groups, ema_decay=decay, runs=primal),
            "net_dual": Learner(net_dual, optim, train, runs=_Loop(net_dual)),
        }

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, 1):
            with contextlib.ExitStack() as stack:
                for learner in self.learners.values():
                    stack.enter_context(learner.synchronised(number == len(batches)))
                found = {k: v / len(batches) for k, v in self._losses(batch).items()}
                self.accelerator.backward(torch.stack(list(found.values())).sum())
            for name, value in found.items():
                total[name] = total.get(name, 0) + value.detach()
        for learner in self.learners.values():
            learner.update()
        return total

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        lq, gt, unpaired = batch["lq"], batch["gt"], batch.get("unpaired")
        paired = len(lq)
        # One pass for both, as what wraps a network for several processes wants it.
        pyramid = self.learners["net_g"](lq if unpaired is None else torch.cat([lq, unpaired]))
        scales = [picture.shape[-1] // lq.shape[-1] for picture in pyramid]
        targets = [lq, *at_scales(gt, scales[1:], scales[-1])]
        outputs = [picture[:paired] for picture in pyramid]
        alone = None if unpaired is None else [picture[paired:] for picture in pyramid]
        back, led_back = self.learners["net_dual"](outputs, alone)
        losses = {
            "l_pix": _total(self.pixel, outputs, targets),
            "l_dual": _total(self.dual, back, targets[:-1]),
        }
        if unpaired is not None:
            losses["l_unpaired"] = _total(self.dual, led_back, [unpaired] * len(led_back))
        return losses


class _Loop(nn.Module):
    """Runs the dual networks on all outputs: one link for pairs, the whole way back for pictures alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, paired: list[Tensor], alone: list[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            paired: outputs at scales 1, 2, ..., those of pairs.
            alone: likewise, of pictures without ground truth.

        Returns:
            Of pairs the pictures at scales 1, 2, ..., one less; of pictures alone as many, all at scale 1.
        """
        nets: Any = self.network.nets
        led_back = []
        for level, picture in enumerate(alone or [], 0):
            for net in reversed(nets[:level]):
                picture = net(picture)
            led_back.append(picture)
        return self.network(paired), led_back[1:]


def _total(loss: nn.Module, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    return torch.stack([loss(x, y) for x, y in zip(outputs, targets, strict=True)]).sum()


RECIPES.register(DualRecipe, name="DualModel")
