"""Blocks of BigGAN's generator and discriminator: the paper's two residual blocks, and self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._biggan_layers import ConditionalBatchNorm, SNConv2d

__all__ = ["DiscriminatorBlock", "GeneratorBlock", "SelfAttention"]


class GeneratorBlock(nn.Module):
    """Doubles the sides of a feature map: two normalized, activated convolutions beside a 1x1 shortcut."""

    def __init__(self, num_in: int, num_out: int, num_condition: int) -> None:
        super().__init__()
        self.conv1 = SNConv2d(num_in, num_out, 3)
        self.conv2 = SNConv2d(num_out, num_out, 3)
        self.conv_sc = SNConv2d(num_in, num_out, 1)
        self.bn1 = ConditionalBatchNorm(num_in, num_condition)
        self.bn2 = ConditionalBatchNorm(num_out, num_condition)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.conv1(_doubled(F.relu(self.bn1(x, y))))
        features = self.conv2(F.relu(self.bn2(features, y)))
        return features + _doubled(self.conv_sc(x))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class DiscriminatorBlock(nn.Module):
    """Two activated convolutions and average pooling by 2, added to a shortcut of the input.

    Args:
        num_in: channels of the input.
        num_out: channels of the output.
        halves: True if the sides of the feature map are halved; otherwise both widths must be equal.
        first: True for the block that receives the image; it has no activation before its convolutions.
    """

    def __init__(self, num_in: int, num_out: int, *, halves: bool, first: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = first
        self.conv1 = SNConv2d(num_in, num_out, 3)
        self.conv2 = SNConv2d(num_out, num_out, 3)
        if halves:
            self.conv_sc = SNConv2d(num_in, num_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if not self.halves:
            return features + x
        # The 1x1 convolution commutes with average pooling, so it runs afterwards on fewer px.
        return F.avg_pool2d(features, 2) + self.conv_sc(F.avg_pool2d(x, 2))


class SelfAttention(nn.Module):
    """Self-attention: each px attends to the half-resolution feature map; the result's gain starts at 0."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.theta = SNConv2d(num_feat, num_feat // 8, 1, bias=False)
        self.phi = SNConv2d(num_feat, num_feat // 8, 1, bias=False)
        self.g = SNConv2d(num_feat, num_feat // 2, 1, bias=False)
        self.o = SNConv2d(num_feat // 2, num_feat, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2)  # (B, C/8, HW)
        keys = F.max_pool2d(self.phi(x), 2).flatten(2)  # (B, C/8, HW/4)
        values = F.max_pool2d(self.g(x), 2).flatten(2)  # (B, C/2, HW/4)
        # The fused kernel never stores the weights but needs vectors of one length; zeros add nothing.
        missing = (0, 0, 0, values.shape[1] - keys.shape[1])
        vectors = (F.pad(queries, missing), F.pad(keys, missing), values)
        q, k, v = (t.transpose(1, 2)[:, None].contiguous() for t in vectors)
        found = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]  # (B, HW, C/2)
        return x + self.gamma * self.o(found.transpose(1, 2).unflatten(2, x.shape[2:]))
