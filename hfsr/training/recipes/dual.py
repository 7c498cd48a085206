"""DualModel: DRN in a closed loop with its dual networks (Guo et al., CVPR 2020).

Paper: https://arxiv.org/abs/2003.07018. The primal network makes an image at every scale; each dual network
reduces one of them to the scale before.

Adaptation to images without ground truth (`datasets.unpaired`) is in the paper, but not in the authors' code:
such images have no primal loss, and the dual networks must reduce the output to the input again. The input
exists at its own size only, so every output is reduced to it by one dual network after another; the paper
leaves this open.

That keeps outputs consistent with inputs of a new kind. It cannot find the kernel that reduced them, because
bicubic reduction leads back to any of them. With `train.adapt`, beyond the paper, that kernel is estimated
(`kernel_estimation`), makes pairs, and replaces the dual networks for images without ground truth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions, Typed
from hfsr.registry import RECIPES

from .auxiliary_networks import build_partner, needed, options_of_partner
from .base import Recipe
from .content_losses import build_loss, pixel_loss, training_of
from .kernel_estimation import Degradation, Matching
from .multiscale_targets import at_scales, eight_bit
from .scale_adapter import ScaleAdapter, check_scales
from .trainable_network import TrainableNetwork

__all__ = ["DualRecipe"]


class DualRecipe(Recipe):
    """Minimizes `pixel_opt` of all outputs and `dual_opt` of their reductions by the dual networks, together.

    One optimizer serves all dual networks: Adam treats every weight separately, so that is equal to one each.
    """

    options_read = options_of_partner("dual") | {
        *("train.pixel_opt", "train.dual_opt", "train.optim_dual", "train.adapt"),
        "datasets.unpaired",
    }

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        train = training_of(options)
        check_scales(options)
        if not hasattr(net_g, "pyramid"):
            raise OptionsError(
                f"model_type DualModel needs a network with a pyramid, as DRN, not {type(net_g).__name__}"
            )
        if options.use_amp and not options.amp_bf16:
            raise OptionsError("amp_bf16: false: DualModel works on 0..255, too large for float16; use true")
        example = "{type: L1Loss, loss_weight: 0.1}"
        section = needed(train.pixel_opt, "train.pixel_opt", options, "{type: L1Loss}")
        self.pixel = pixel_loss(train, section)
        self.dual = build_loss(needed(train.dual_opt, "train.dual_opt", options, example))
        self.criteria = [self.pixel, self.dual]
        optim = needed(train.optim_dual, "train.optim_dual", options, "{type: Adam, lr: 1e-4}")
        net_dual = build_partner(options, "dual", "{type: DRNDual, num_feat: 16, upscale: 4}", like=net_g)
        primal = ScaleAdapter(net_g, "pyramid")
        groups, decay = train.param_groups, train.ema_decay
        self.learners = {
            "net_g": TrainableNetwork(
                net_g, train.optim_g, train, groups=groups, ema_decay=decay, runs=primal
            ),
            "net_dual": TrainableNetwork(net_dual, optim, train, runs=_Loop(net_dual)),
        }
        if train.adapt is not None and "unpaired" not in options.datasets:
            raise OptionsError("train.adapt: needs images to adapt to; add datasets.unpaired or leave it out")
        self.adapt = train.adapt
        if self.adapt is not None:
            sought = Degradation(options.scale).to(next(net_g.parameters()).device)
            optim = Typed(type="Adam", lr=self.adapt.lr)
            self.learners["net_kernel"] = TrainableNetwork(sought, optim, train, runs=Matching(sought))

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, 1):
            with contextlib.ExitStack() as stack:
                for learner in self.learners.values():
                    stack.enter_context(learner.synchronized(number == len(batches)))
                found = {k: v / len(batches) for k, v in self._losses(batch, iteration).items()}
                self.accelerator.backward(torch.stack(list(found.values())).sum())
            for name, value in found.items():
                total[name] = total.get(name, 0) + value.detach()
        for learner in self.learners.values():
            learner.update()
        return total

    def _losses(self, batch: Batch, iteration: int = 1) -> dict[str, Tensor]:
        lq, gt, alone = batch["lq"], batch["gt"], batch.get("unpaired")
        made = None if self.adapt is None else self._made(gt)
        inputs = [x for x in (lq, alone, made) if x is not None]
        # One pass for all inputs: DDP expects one forward pass per backward pass.
        pyramid = self.learners["net_g"](torch.cat(inputs))
        outputs, *others = zip(*(image.split([len(x) for x in inputs]) for image in pyramid), strict=True)
        scales = [image.shape[-1] // lq.shape[-1] for image in pyramid]
        targets = [lq, *at_scales(gt, scales[1:], scales[-1])]
        back, led_back = self.learners["net_dual"](outputs, others[0] if len(others) == 1 else ())
        losses = {
            "l_pix": _total(self.pixel, outputs, targets),
            "l_dual": _total(self.dual, back, targets[:-1]),
        }
        if alone is not None and made is None:
            losses["l_unpaired"] = _total(self.dual, led_back, [alone] * len(led_back))
        elif alone is not None and made is not None and self.adapt is not None:
            kernel = self.learners["net_kernel"]
            begun = float(iteration > self.adapt.start_iter)
            losses["l_unpaired"] = begun * self.dual(kernel.forward_frozen(others[0][-1]), alone)
            losses["l_made"] = begun * _total(self.pixel, others[1], [made, *targets[1:]])
            losses["l_kernel"] = kernel(gt, alone)
        return losses

    @torch.no_grad()
    def _made(self, gt: Tensor) -> Tensor:
        """Reduces the ground truth with the kernel estimated up to now, to 8 bit."""
        return eight_bit(self.learners["net_kernel"].network(gt))


class _Loop(nn.Module):
    """Runs the dual networks on all outputs: one step for pairs, all steps down for images without GT."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, paired: Sequence[Tensor], alone: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Reduces the outputs.

        Args:
            paired: outputs at scales 1, 2, ..., of pairs.
            alone: outputs likewise, of images without ground truth; may be empty.

        Returns:
            For pairs, images at scales 1, 2, ..., one fewer; for the others the same number, all at scale 1.
        """
        nets: Any = self.network.nets
        led_back = []
        for level, image in enumerate(alone):
            for net in reversed(nets[:level]):
                image = net(image)
            led_back.append(image)
        return self.network(paired), led_back[1:]


def _total(loss: nn.Module, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    return torch.stack([loss(x, y) for x, y in zip(outputs, targets, strict=True)]).sum()


RECIPES.register(DualRecipe, name="DualModel")
