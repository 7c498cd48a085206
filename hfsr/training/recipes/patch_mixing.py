"""Augmentation of batches by mixing pairs: MixUp, and the mixture of augmentations with CutBlur.

Yoo, Ahn, Sohn: Rethinking Data Augmentation for Image Super-resolution (CVPR 2020,
https://arxiv.org/abs/2004.00448).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.options.sections import MixtureOptions

__all__ = ["Mixture", "mixed_up"]

Images = list[Tensor]
"""LQ, GT, and further images of the size of GT: (B, C, H, W)."""

_BLEND, _MIXUP, _CUT = 0.6, 1.2, 0.7
"""Strengths of the paper: lowest share of the image, Beta(a, a) of the share, mean side of the region."""
_CUT_DEVIATION = 0.01


class Mixture:
    """Draws one augmentation for each batch and applies it to LQ and GT alike.

    Args:
        options: the option file, with `train.mixture`.

    Raises:
        OptionsError: if an augmentation does not fit the scale or the data.
    """

    def __init__(self, options: TrainOptions, section: MixtureOptions) -> None:
        self.section = section
        weights: dict[str, float] = {str(name): weight for name, weight in section.augs.items()}
        weights = weights or {name: 1.0 for name in _AUGMENTATIONS if _fits(name, options)}
        for name in weights:
            if not _fits(name, options):
                need = (
                    "LQ and GT of the same size, that is scale 1"
                    if name == "cutblur"
                    else "one scale for all batches, without datasets.train.scales"
                )
                raise OptionsError(f"train.mixture.augs.{name}: needs {need}; leave it out")
        if not sum(weights.values()):
            raise OptionsError("train.mixture.augs: all weights are 0; leave the section out")
        self.names, self.weights = list(weights), torch.tensor([*weights.values()])

    def __call__(self, images: Sequence[Tensor], iteration: int) -> Images:
        """Returns the augmented images; random numbers are torch's."""
        if iteration <= self.section.start_iter or (
            self.section.prob < 1 and torch.rand(()) >= self.section.prob
        ):
            return list(images)
        name = self.names[int(torch.multinomial(self.weights, 1))]
        return _AUGMENTATIONS[name](list(images))


def mixed_up(images: Sequence[Tensor], alpha: float) -> Images:
    """Blends each pair with another one of the batch, with a share drawn from Beta(alpha, alpha) (MixUp).

    Args:
        images: batches of LQ, of GT and of images that belong to them.
        alpha: parameter of the distribution.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    order = torch.randperm(len(images[0]), device=images[0].device)
    return [share * batch + (1 - share) * batch[order] for batch in images]


def blended(images: Images) -> Images:
    """Blends each pair with a color of its own; the share of the images is at least 0.6."""
    share = _BLEND + (1 - _BLEND) * torch.rand(()).item()
    color = torch.rand(len(images[0]), images[0].shape[1], 1, 1).to(images[0].device)
    return [share * batch + (1 - share) * color for batch in images]


def permuted_channels(images: Images) -> Images:
    """Reorders the channels, alike in all images."""
    order = torch.randperm(images[0].shape[1])
    return [batch[:, order.to(batch.device)] for batch in images]


def cut_mixed(images: Images) -> Images:
    """Replaces a rectangle of each pair by that of another pair of the batch (CutMix)."""
    order = torch.randperm(len(images[0]), device=images[0].device)
    return _pasted(images, [batch[order] for batch in images], _region(images[0]))


def cut_mixed_up(images: Images) -> Images:
    """Applies MixUp inside of a rectangle, or outside of it (CutMixUp)."""
    mixed, region = mixed_up(images, _MIXUP), _region(images[0])
    return _pasted(images, mixed, region) if torch.rand(()) < 0.5 else _pasted(mixed, images, region)


def cut_blurred(images: Images) -> Images:
    """Exchanges a rectangle of LQ for that of GT, or all but a rectangle (CutBlur); GT stays."""
    lq, gt, *others = images
    region = _region(lq)
    mixed = _pasted([lq], [gt], region) if torch.rand(()) < 0.5 else _pasted([gt], [lq], region)
    return [*mixed, gt, *others]


_AUGMENTATIONS: dict[str, Callable[[Images], Images]] = {
    "blend": blended,
    "rgb": permuted_channels,
    "mixup": lambda images: mixed_up(images, _MIXUP),
    "cutmix": cut_mixed,
    "cutmixup": cut_mixed_up,
    "cutblur": cut_blurred,
}


def _fits(name: str, options: TrainOptions) -> bool:
    if name == "cutblur":
        return options.scale == 1
    return name not in ("cutmix", "cutmixup") or not options.datasets["train"].arguments.get("scales")


def _region(lq: Tensor) -> tuple[int, int, int, int]:
    """Draws a rectangle of about 0.7 of the sides of LQ: top, left, height and width in px."""
    share = min(1.0, max(0.0, _CUT + _CUT_DEVIATION * torch.randn(()).item()))
    height, width = (int(side * share) for side in lq.shape[-2:])
    top, left = (
        int(torch.randint(side - cut + 1, ()))
        for side, cut in zip(lq.shape[-2:], (height, width), strict=True)
    )
    return top, left, height, width


def _pasted(images: Images, sources: Images, region: tuple[int, int, int, int]) -> Images:
    """Returns copies of the images with a region of LQ, and the same one of the others, from the sources."""
    results = []
    for image, source in zip(images, sources, strict=True):
        factor = image.shape[-1] // images[0].shape[-1]
        top, left, height, width = (factor * px for px in region)
        place = (..., slice(top, top + height), slice(left, left + width))
        result = image.clone()
        result[place] = source[place]
        results.append(result)
    return results
