"""Antialiased reduction by 2: blur, then subsampling, with the feature map reflected at its border.

A `BlurPool` is one node of a network's graph: the planner runs it on any part of a feature map, and reflects
only at the border of the whole feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BlurPool"]


class BlurPool(nn.Module):
    """Every second px of a feature map that is blurred by the binomial kernel [1, 2, 1] x [1, 2, 1] / 16.

    From "Making Convolutional Networks Shift-Invariant Again", Zhang, ICML 2019, arXiv 1904.11486.
    """

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor((0.25, 0.5, 0.25))
        self.register_buffer("filters", torch.outer(row, row)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W), H and W at least 2. Returns: (B, C, ceil(H/2), ceil(W/2))."""
        return self.reduce(F.pad(x, (1, 1, 1, 1), mode="reflect"))

    def reduce(self, padded: Tensor) -> Tensor:
        """Blurs and subsamples a padded feature map: (B, C, h, w) to (B, C, (h-1)//2, (w-1)//2)."""
        channels = padded.shape[1]
        filters = self.filters.to(padded.dtype).expand(channels, 1, 3, 3)
        return F.conv2d(padded, filters, stride=2, groups=channels)
