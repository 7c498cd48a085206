"""Replaces the conditional batch norms of a generator by instance norms that preserve its output."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.biggan import BN_EPS, BigGANGenerator, ConditionalBatchNorm

__all__ = ["FrozenInstanceNorm", "freeze_norms"]


class FrozenInstanceNorm(nn.Module):
    """Instance normalization with a fixed gain and bias; ignores the class embedding.

    Args:
        gain, bias: one value per channel, (C,).
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, gain: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Args: x: (B, C, H, W); y: class embedding, ignored."""
        return F.instance_norm(x, weight=self.gain, bias=self.bias, eps=BN_EPS)


@torch.no_grad()
def freeze_norms(generator: BigGANGenerator, z: Tensor, embedding: Tensor) -> None:
    """Replaces the conditional batch norms in the blocks of a generator by instance norms, in place.

    Gains and biases are chosen so that the output for `z` and `embedding` does not change.

    Args:
        generator: changed in place.
        z: (1, dim_z).
        embedding: (1, shared_dim).
    """
    replacements: dict[ConditionalBatchNorm, FrozenInstanceNorm] = {}

    def record(norm: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        if isinstance(norm, ConditionalBatchNorm):
            x, y = inputs
            slope = (1 + norm.gain(y)[0]) / (norm.stored_var + BN_EPS).sqrt()
            deviation = (x[0].var((1, 2), unbiased=False) + BN_EPS).sqrt()
            replacements[norm] = FrozenInstanceNorm(slope * deviation, output[0].mean((1, 2)))

    norms = [module for module in generator.modules() if isinstance(module, ConditionalBatchNorm)]
    handles = [norm.register_forward_hook(record) for norm in norms]
    generator(z, embedding)
    for handle in handles:
        handle.remove()
    for module in list(generator.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ConditionalBatchNorm):
                setattr(module, name, replacements[child])
