"""Distances between the features of two pictures, in BasicSR's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.registry import LOSSES

from .vgg_features import Features

__all__ = ["PerceptualLoss", "TextureLoss"]

Criterion = Literal["l1", "l2", "fro"]
_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "fro": lambda x, y: torch.linalg.vector_norm(x - y),
}


@LOSSES.register
class PerceptualLoss(nn.Module):
    """Distance of VGG's maps, and of their Gram matrices where `style_weight` is given.

    SRGAN's "VGG54" is `{relu5_4: w}` with `criterion: l2`, w = 1/12.75^2 for the paper's scaling of the maps;
    its "VGG22" is `relu2_2`. ESRGAN's, before activation, is `{conv5_4: 1}` with `l1`.

    Args:
        layer_weights: weight of each layer, by its name in `hfsr.losses.vgg_features.Features`.
        vgg_type, pretrained, weights, use_input_norm, range_norm: as `Features`.
        perceptual_weight: factor on the distance of the maps; 0 for none.
        style_weight: factor on that of their Gram matrices, divided by their number of elements; 0 for none.
        criterion: mean absolute, mean squared, or root of the summed squared difference.
    """

    def __init__(
        self,
        *,
        layer_weights: dict[str, float],
        vgg_type: str = "vgg19",
        pretrained: bool = True,
        weights: str | None = None,
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: Criterion = "l1",
    ) -> None:
        super().__init__()
        self.layer_weights = dict(layer_weights)
        self.perceptual_weight, self.style_weight = perceptual_weight, style_weight
        self.distance = _CRITERIA[criterion]
        self.features = Features(
            layer_weights,
            vgg_type=vgg_type,
            pretrained=pretrained,
            weights=weights,
            use_input_norm=use_input_norm,
            range_norm=range_norm,
        )

    def forward(self, sr: Tensor, gt: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Args: sr, gt: RGB, (B, 3, H, W). Returns: perceptual and style loss, None where its weight is 0."""
        found = self.features(sr)
        with torch.no_grad():
            wanted = self.features(gt)
        perceptual = style = None
        if self.perceptual_weight > 0:
            perceptual = self.perceptual_weight * self._sum(found, wanted)
        if self.style_weight > 0:
            ours, theirs = ({name: _gram(x) for name, x in maps.items()} for maps in (found, wanted))
            style = self.style_weight * self._sum(ours, theirs)
        return perceptual, style

    def _sum(self, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        parts = [w * self.distance(found[name], wanted[name]) for name, w in self.layer_weights.items()]
        return torch.stack(parts).sum()


def _gram(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, C), divided by the number of elements of a map."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


@LOSSES.register
class TextureLoss(nn.Module):
    """Squared difference of the Gram matrices of patches of VGG's maps (EnhanceNet's texture loss).

    Source: Sajjadi et al., ICCV 2017, https://arxiv.org/abs/1612.07919. Statistics of small patches, not of
    the whole map, so that the texture is right where it is. A Gram matrix is a sum over a patch; the mean is
    taken over its elements and over the patches. These two normalisations are our reading.

    Args:
        layer_weights: weight of each layer; the paper's are {relu1_1: 3e-7, relu2_1: 1e-6, relu3_1: 1e-6}.
        patch_size: side of a patch in px of the map; what is left over at the edges is not compared, and a
            smaller map is one patch.
        loss_weight: factor on the result.
        vgg_type, pretrained, use_input_norm: as `hfsr.losses.vgg_features.Features`.
    """

    def __init__(
        self,
        *,
        layer_weights: dict[str, float],
        patch_size: int = 16,
        loss_weight: float = 1.0,
        vgg_type: str = "vgg19",
        pretrained: bool = True,
        use_input_norm: bool = True,
    ) -> None:
        super().__init__()
        self.layer_weights, self.patch_size, self.loss_weight = dict(layer_weights), patch_size, loss_weight
        self.features = Features(
            layer_weights, vgg_type=vgg_type, pretrained=pretrained, use_input_norm=use_input_norm
        )

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: a scalar."""
        found = self.features(sr)
        with torch.no_grad():
            wanted = self.features(gt)
        parts = [
            weight * F.mse_loss(self._grams(found[name]), self._grams(wanted[name]))
            for name, weight in self.layer_weights.items()
        ]
        return self.loss_weight * torch.stack(parts).sum()

    def _grams(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, patches, C, C)."""
        height, width = (min(self.patch_size, side) for side in x.shape[2:])
        x = x[:, :, : x.shape[2] // height * height, : x.shape[3] // width * width]
        patches = x.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # (B, C, rows, h, columns, w)
        flat = patches.permute(0, 2, 4, 1, 3, 5).flatten(4).flatten(1, 2)  # (B, patches, C, h*w)
        return flat @ flat.transpose(2, 3)
