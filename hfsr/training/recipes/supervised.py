"""Losses on every intermediate image of a network, not on the last one alone.

PyramidModel: LapSRN and MS-LapSRN (Lai et al., CVPR 2017, https://arxiv.org/abs/1704.03915).
RecursiveModel: DRCN (Kim, Lee, Lee, CVPR 2016, https://arxiv.org/abs/1511.04491).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import RECIPES

from .content_losses import pixel_loss
from .multiscale_targets import at_scales
from .psnr import SingleRecipe, scale_of

__all__ = ["PyramidRecipe", "RecursiveRecipe"]


class _EveryImage(SingleRecipe):
    """A network with a method that returns all its images, the final one last."""

    method: str

    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        if not hasattr(net_g, self.method):
            raise OptionsError(
                f"model_type {options.model_type} needs a network with a method '{self.method}', which "
                f"{type(net_g).__name__} does not have; use SRModel"
            )
        super().__init__(options, net_g, self.method)
        if self.train.pixel_opt is None:
            raise OptionsError(f"train.pixel_opt: is missing; {options.model_type} needs a pixel loss")
        self.pixel = pixel_loss(self.train, self.train.pixel_opt)
        self.criteria = [self.pixel]


class PyramidRecipe(_EveryImage):
    """Minimizes the sum of `train.pixel_opt` over the levels, each against ground truth of its size."""

    method = "pyramid"
    options_read = frozenset({"train.pixel_opt"})

    def losses(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        gt, scale = batch["gt"], scale_of(batch)
        images = self.learners["net_g"](batch["lq"], scale)
        width = batch["lq"].shape[-1]
        scales = [image.shape[-1] // width for image in images]
        targets = at_scales(gt, scales, scales[-1])
        levels = [self.pixel(image, target) for image, target in zip(images, targets, strict=True)]
        return {"l_pix": torch.stack(levels).sum()}


class RecursiveRecipe(_EveryImage):
    """Minimizes `alpha * mean over recursions + (1 - alpha) * final`, both of `train.pixel_opt`.

    alpha decreases linearly from `train.recursion.alpha` to 0; the paper states only that it decreases.
    """

    method = "predictions"
    options_read = frozenset({"train.pixel_opt", "train.recursion"})

    def losses(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        section = self.train.recursion
        alpha = section.alpha * max(0.0, 1 - (iteration - 1) / section.decay_iter)
        *states, final = self.learners["net_g"](batch["lq"], scale_of(batch))
        recursions = torch.stack([self.pixel(state, batch["gt"]) for state in states]).mean()
        return {"l_pix": (1 - alpha) * self.pixel(final, batch["gt"]), "l_recursions": alpha * recursions}


RECIPES.register(PyramidRecipe, name="PyramidModel")
RECIPES.register(RecursiveRecipe, name="RecursiveModel")
