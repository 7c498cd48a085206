"""Perceptual losses on VGG features, with BasicSR's argument names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.registry import LOSSES

from .vgg_features import VGGFeatures

__all__ = ["PerceptualLoss", "TextureLoss"]

Criterion = Literal["l1", "l2", "fro"]
_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "fro": lambda x, y: torch.linalg.vector_norm(x - y),
}


@LOSSES.register
class PerceptualLoss(nn.Module):
    """Distance of VGG feature maps, and of their Gram matrices if `style_weight` is given.

    SRGAN's "VGG54" is `{relu5_4: w}` with `criterion: l2`, w = 1/12.75^2 for the paper's scaling of the
    feature maps; its "VGG22" is `relu2_2`. ESRGAN's loss before activation is `{conv5_4: 1}` with `l1`.

    Args:
        layer_weights: weight of each layer, by its name in `hfsr.losses.vgg_features.VGGFeatures`.
        vgg_type, pretrained, weights, use_input_norm, range_norm: as for `VGGFeatures`.
        perceptual_weight: factor on the distance of the feature maps; 0 disables it.
        style_weight: factor on the distance of their Gram matrices, which are divided by their number of
            elements; 0 disables it.
        criterion: mean absolute error (l1), mean squared error (l2), or Euclidean norm (fro).
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
        self.features = VGGFeatures(
            layer_weights,
            vgg_type=vgg_type,
            pretrained=pretrained,
            weights=weights,
            use_input_norm=use_input_norm,
            range_norm=range_norm,
        )

    def forward(self, sr: Tensor, gt: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Args: sr, gt: RGB, (B, 3, H, W). Returns: perceptual and style loss, None if its weight is 0."""
        sr_maps = self.features(sr)
        with torch.no_grad():
            gt_maps = self.features(gt)
        perceptual = style = None
        if self.perceptual_weight > 0:
            perceptual = self.perceptual_weight * self._weighted_distance(sr_maps, gt_maps)
        if self.style_weight > 0:
            sr_grams, gt_grams = ({name: _gram(x) for name, x in maps.items()} for maps in (sr_maps, gt_maps))
            style = self.style_weight * self._weighted_distance(sr_grams, gt_grams)
        return perceptual, style

    def _weighted_distance(self, sr_maps: dict[str, Tensor], gt_maps: dict[str, Tensor]) -> Tensor:
        parts = [w * self.distance(sr_maps[name], gt_maps[name]) for name, w in self.layer_weights.items()]
        return torch.stack(parts).sum()


def _gram(x: Tensor) -> Tensor:
    """Returns the Gram matrices, (B, C, H, W) -> (B, C, C), divided by the number of elements of a map."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


@LOSSES.register
class TextureLoss(nn.Module):
    """Squared difference of the Gram matrices of patches of VGG feature maps (texture loss of EnhanceNet).

    Source: Sajjadi et al., ICCV 2017, https://arxiv.org/abs/1612.07919. The statistics are those of small
    patches instead of the whole feature map, so that textures match locally. A Gram matrix is a sum over a
    patch; the mean is taken over its elements and over the patches. The paper leaves these two
    normalizations open.

    Args:
        layer_weights: weight of each layer; the paper's are {relu1_1: 3e-7, relu2_1: 1e-6, relu3_1: 1e-6}.
        patch_size: side of a patch in px of the feature map; incomplete patches at the edges are ignored; a
            smaller feature map is one patch.
        loss_weight: factor on the result.
        vgg_type, pretrained, use_input_norm: as for `hfsr.losses.vgg_features.VGGFeatures`.
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
        self.features = VGGFeatures(
            layer_weights, vgg_type=vgg_type, pretrained=pretrained, use_input_norm=use_input_norm
        )

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: a scalar."""
        sr_maps = self.features(sr)
        with torch.no_grad():
            gt_maps = self.features(gt)
        parts = [
            weight * F.mse_loss(self._patch_grams(sr_maps[name]), self._patch_grams(gt_maps[name]))
            for name, weight in self.layer_weights.items()
        ]
        return self.loss_weight * torch.stack(parts).sum()

    def _patch_grams(self, x: Tensor) -> Tensor:
        """Returns the Gram matrices of all patches, (B, C, H, W) -> (B, patches, C, C)."""
        height, width = (min(self.patch_size, side) for side in x.shape[2:])
        x = x[:, :, : x.shape[2] // height * height, : x.shape[3] // width * width]
        patches = x.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # (B, C, rows, h, columns, w)
        flat = patches.permute(0, 2, 4, 1, 3, 5).flatten(4).flatten(1, 2)  # (B, patches, C, h*w)
        return flat @ flat.transpose(2, 3)
