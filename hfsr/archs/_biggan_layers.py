"""Layers of BigGAN's blocks: spectrally normalized layers and batch norms."""

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
    """Mixin that divides a layer's weight by its largest singular value.

    Each call estimates that value with one step of power iteration from the left singular vector `u0`, which
    is updated in training mode only. Gradients flow through the weight, not through the singular vectors.
    """

    def add_spectral_norm(self: Any) -> None:
        """Initializes the weight and registers buffers for its singular vector and value."""
        nn.init.normal_(self.weight, std=0.02)
        self.register_buffer("u0", torch.randn(1, self.weight.shape[0]))
        self.register_buffer("sv0", torch.ones(1))  # for monitoring only; no code reads it

    def normalized(self: Any) -> Tensor:
        """Returns the weight divided by its largest singular value."""
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
    """Spectrally normalized convolution of stride 1 that keeps the size of a feature map."""

    def __init__(self, num_in: int, num_out: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, kernel_size, padding=kernel_size // 2, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalized(), self.bias, padding=self.padding)


class SNLinear(SpectralNorm, nn.Linear):
    """Spectrally normalized linear layer."""

    def __init__(self, num_in: int, num_out: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized(), self.bias)


class SNEmbedding(SpectralNorm, nn.Embedding):
    """Spectrally normalized embedding."""

    def __init__(self, num_class: int, num_feat: int) -> None:
        super().__init__(num_class, num_feat)
        self.add_spectral_norm()

    def forward(self, classes: Tensor) -> Tensor:
        return F.embedding(classes, self.normalized())


class StoredStatistics(nn.Module):
    """Batch normalization whose gain and bias are passed in.

    Training mode uses the batch's statistics and stores them; evaluation mode uses the stored ones.
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(num_feat))
        self.register_buffer("stored_var", torch.ones(num_feat))

    def normalized(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Normalizes (B, C, H, W), then multiplies by `gain` and adds `bias`, if given."""
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
        num_condition: length of the condition vector.
    """

    def __init__(self, num_feat: int, num_condition: int) -> None:
        super().__init__(num_feat)
        self.gain = SNLinear(num_condition, num_feat, bias=False)
        self.bias = SNLinear(num_condition, num_feat, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Args: x: (B, C, H, W); y: (B, num_condition)."""
        gain, bias = 1 + self.gain(y), self.bias(y)
        return torch.addcmul(bias[..., None, None], self.normalized(x), gain[..., None, None])
