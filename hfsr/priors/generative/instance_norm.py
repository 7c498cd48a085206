"""A generator's conditional norms as instance norms that change nothing at first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.biggan import BN_EPS, BigGANGenerator, ConditionalBatchNorm

__all__ = ["FrozenInstanceNorm", "freeze_norms"]


class FrozenInstanceNorm(nn.Module):
    """Normalises each channel of each picture by its own statistics, with a fixed gain and bias.

    Args:
        gain, bias: per channel, (C,).
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, gain: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Args: x: (B, C, H, W); y: the condition, which no longer counts."""
        return F.instance_norm(x, weight=self.gain, bias=self.bias, eps=BN_EPS)


@torch.no_grad()
def freeze_norms(generator: BigGANGenerator, z: Tensor, embedding: Tensor) -> None:
    """Puts instance norms in the place of the blocks' conditional norms, in place.

    Their gains and biases are such that the picture of `z` and `embedding` stays what it is.

    Args:
        z: (1, dim_z).
        embedding: (1, shared_dim).
    """
    seen: dict[ConditionalBatchNorm, FrozenInstanceNorm] = {}

    def look(norm: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        if isinstance(norm, ConditionalBatchNorm):
            x, y = inputs
            slope = (1 + norm.gain(y)[0]) / (norm.stored_var + BN_EPS).sqrt()
            deviation = (x[0].var((1, 2), unbiased=False) + BN_EPS).sqrt()
            seen[norm] = FrozenInstanceNorm(slope * deviation, output[0].mean((1, 2)))

    norms = [module for module in generator.modules() if isinstance(module, ConditionalBatchNorm)]
    handles = [norm.register_forward_hook(look) for norm in norms]
    generator(z, embedding)
    for handle in handles:
        handle.remove()
    for module in list(generator.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ConditionalBatchNorm):
                setattr(module, name, seen[child])
