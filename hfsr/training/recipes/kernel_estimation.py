"""Estimates the reduction kernel of images without ground truth, from the ground truth of other images.

Two sets of photographs differ in their content, but hardly in the correlation of neighboring px; if they do,
different kernels reduced them. The estimated kernel is the one that gives reduced ground truth the statistics
of the images without ground truth. The dual loss of DRN alone cannot distinguish kernels: any output that
bicubic reduction leads back to the input satisfies it, for any kernel of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .distributed_mean import mean_of_processes

__all__ = ["Degradation", "Matching", "autocorrelation"]

_LAGS = 5
"""Number of offsets across and down, from 0, at which neighbors are correlated."""
_MEMORY = 1000
"""Number of batches over which the statistics are averaged."""


class Degradation(nn.Module):
    """A Gaussian of any width and direction, centered on an LR px, followed by subsampling.

    It is never negative and sums to 1, like the blur of lens and sensor. It has no shift, because the
    statistics do not depend on one.

    Args:
        scale: GT px per LR px along one side.
    """

    statistics: Tensor
    """Statistics of the images without ground truth: the mean over the batches."""
    batches: Tensor
    """Number of these batches."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.log_widths = nn.Parameter(torch.full((2,), 0.4 * scale).log())
        """Logarithms of the widths across and down of the Gaussian's principal factor, in GT px."""
        self.slant = nn.Parameter(torch.zeros(()))
        """Shear of the Gaussian; 0 aligns it with the axes."""
        self.register_buffer("statistics", torch.zeros(2 * (_LAGS**2 - 1)))
        self.register_buffer("batches", torch.zeros(()))

    def kernel(self) -> Tensor:
        """Returns weights over GT px: a square with sides of 4 * scale + 2 px, or one px more or less."""
        reach = 2 * self.scale + (2 if self.scale % 2 == 0 else 1.5)
        places = torch.arange(-reach + 0.5, reach, device=self.slant.device)
        across, down = self.log_widths.exp()
        x = places[None, :] / across
        y = (places[:, None] - self.slant * x) / down
        weights = torch.exp(-0.5 * (x * x + y * y))
        return weights / weights.sum()

    def forward(self, gt: Tensor) -> Tensor:
        """Args: gt: (B, C, H, W), sides multiples of the scale. Returns: (B, C, H / scale, W / scale)."""
        kernel, channels = self.kernel().to(gt), gt.shape[1]
        margin = (len(kernel) - self.scale) // 2
        padded = F.pad(gt, (margin,) * 4, mode="replicate")
        filters = kernel[None, None].expand(channels, 1, -1, -1)
        return F.conv2d(padded, filters, stride=self.scale, groups=channels)


class Matching(nn.Module):
    """Distance in statistics between reduced ground truth and images without ground truth.

    Args:
        degradation: the estimated kernel; shared, not copied.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation

    def forward(self, gt: Tensor, lq: Tensor) -> Tensor:
        """Args: gt: (B, 3, H, W). lq: other images, reduced, (B, 3, h, w). Returns: a squared distance."""
        found = self.degradation
        with torch.no_grad():
            share = 1 / min(found.batches.item() + 1, _MEMORY)
            found.statistics.lerp_(autocorrelation(lq), share)
            found.batches += 1
        # Ground truth of this batch only: a running mean would lag behind the kernel, which then oscillates.
        return (autocorrelation(found(gt)) - found.statistics).square().sum()


def autocorrelation(x: Tensor) -> Tensor:
    """Returns the correlations of neighboring px of an image's two derivatives, at offsets below `_LAGS`.

    The mean is over the batches of all processes.

    Args:
        x: (B, C, H, W), sides above `_LAGS`.

    Returns:
        One number for each derivative and offset, at most 1, independent of contrast and brightness.
    """
    parts: list[Tensor] = []
    for g in (x[:, :, :, 1:] - x[:, :, :, :-1], x[:, :, 1:] - x[:, :, :-1]):
        height, width = g.shape[2:]
        for down in range(_LAGS):
            for across in range(_LAGS):
                product = g[:, :, down:, across:] * g[:, :, : height - down, : width - across]
                parts.append(product.mean())
    energy, *others = mean_of_processes(torch.stack(parts)).view(2, -1).unbind(1)
    return (torch.stack(others, 1) / (energy[:, None] + 1e-8)).flatten()
