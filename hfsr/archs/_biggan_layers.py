"""What BigGAN's blocks are made of: spectrally normalized layers and norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "BN_EPS",
    "BatchNorm",
    "ConditionalBatchNorm",
    "SNConv2d",
    "SNEmbedding",
    "SNLinear",
]

BN_EPS = 1e-5


class SpectralNorm:
    """What makes a layer divide its weight by its largest singular value.

    That value is followed by one step of power iteration in each call, from the left singular vector `u0`,
    which remembers the step in training mode only. Gradients see the weight in it, not the vectors.
    """

    def add_spectral_norm(self: Any) -> None:
        """Once there is a weight: gives it a start, and a place for its singular vector and value."""
        nn.init.normal_(self.weight, std=0.02)
        self.register_buffer("u0", torch.randn(1, self.weight.shape[0]))
        self.register_buffer("sv0", torch.ones(1))  # for people to watch; nothing reads it

    def normalized(self: Any) -> Tensor:
        """The weight over its largest singular value."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ matrix)
            u = F.normalize(v @ matrix.T)
        value = (u @ matrix @ v.T).squeeze()
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.copy_(value)
        return self.weight / value


class SNConv2d(SpectralNorm, nn.Conv2d):
    """A convolution of stride 1 that keeps the size of a map, spectrally normalized."""

    def __init__(self, num_in: int, num_out: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, kernel_size, padding=kernel_size // 2, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalized(), self.bias, padding=self.padding)


class SNLinear(SpectralNorm, nn.Linear):
    """A linear layer, spectrally normalized."""

    def __init__(self, num_in: int, num_out: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized(), self.bias)


class SNEmbedding(SpectralNorm, nn.Embedding):
    """An embedding, spectrally normalized."""

    def __init__(self, num_class: int, num_feat: int) -> None:
        super().__init__(num_class, num_feat)
        self.add_spectral_norm()

    def forward(self, classes: Tensor) -> Tensor:
        return F.embedding(classes, self.normalized())


class StoredStatistics(nn.Module):
    """Batch normalization without gain and bias of its own; they are given.

    In training mode by the batch's statistics, which are remembered; in evaluation mode by those.
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(num_feat))
        self.register_buffer("stored_var", torch.ones(num_feat))

    def normalized(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return F.batch_norm(
            x, self.stored_mean, self.stored_var, gain, bias, training=self.training, eps=BN_EPS
        )


class BatchNorm(StoredStatistics):
    """Batch normalization with one gain and bias per channel."""

    def __init__(self, num_feat: int) -> None:
        super().__init__(num_feat)
        self.gain = nn.Parameter(torch.ones(num_feat))
        self.bias = nn.Parameter(torch.zeros(num_feat))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalized(x, self.gain, self.bias)


class ConditionalBatchNorm(StoredStatistics):
    """Batch normalization whose gain and bias come from a condition: 1 + gain(y) and bias(y).

    Args:
        num_feat: channels.
        num_condition: numbers of the condition.
    """

    def __init__(self, num_feat: int, num_condition: int) -> None:
        super().__init__(num_feat)
        self.gain = SNLinear(num_condition, num_feat, bias=False)
        self.bias = SNLinear(num_condition, num_feat, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Args: x: (B, C, H, W); y: (B, num_condition)."""
        gain, bias = 1 + self.gain(y), self.bias(y)
        return torch.addcmul(bias[..., None, None], self.normalized(x), gain[..., None, None])
