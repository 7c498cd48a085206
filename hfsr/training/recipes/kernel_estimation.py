"""How images came about whose ground truth nobody has, found from other images' ground truth.

Two sets of photographs differ in what they show, hardly in how neighboring px depend on each other; where
they do, they were reduced differently. So a kernel is sought by which ground truth, reduced, gets the
statistics of the images at hand. The dual loss of DRN alone cannot tell one kernel from another: an output
that bicubic reduction leads back to the input satisfies it, however the input was made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .distributed_mean import mean_of_processes

__all__ = ["Degradation", "Matching", "autocorrelation"]

_LAGS = 5
"""px across and down, from 0 on, over which neighbors are compared."""
_MEMORY = 1000
"""Batches over which their statistics are averaged."""


class Degradation(nn.Module):
    """A Gaussian of any width and direction, centerd on what an LR px stands for; then every scale-th px.

    Never negative and sums to 1, as what a lens and a sensor do. Statistics do not show a shift: it has none.

    Args:
        scale: GT px per LR px.
    """

    statistics: Tensor
    """Of the images at hand, the mean over the batches so far."""
    batches: Tensor
    """How many these were."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.log_widths = nn.Parameter(torch.full((2,), 0.4 * scale).log())
        """Of the Gaussian's principal factor, in GT px: across and down."""
        self.slant = nn.Parameter(torch.zeros(()))
        """Whether it leans."""
        self.register_buffer("statistics", torch.zeros(2 * (_LAGS**2 - 1)))
        self.register_buffer("batches", torch.zeros(()))

    def kernel(self) -> Tensor:
        """Weights over GT px, (4 * scale + 2, the same), or one px more or less."""
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
    """How far ground truth, reduced, is from the images at hand in its statistics.

    Args:
        degradation: what is sought; shared, not copied.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation

    def forward(self, gt: Tensor, lq: Tensor) -> Tensor:
        """Args: gt: of some images. lq: others, reduced, (B, 3, h, w). Returns: a squared distance."""
        found = self.degradation
        with torch.no_grad():
            share = 1 / min(found.batches.item() + 1, _MEMORY)
            found.statistics.lerp_(autocorrelation(lq), share)
            found.batches += 1
        # Of the ground truth this batch alone: a mean would lag behind the kernel, which then swings.
        return (autocorrelation(found(gt)) - found.statistics).square().sum()


def autocorrelation(x: Tensor) -> Tensor:
    """How much neighboring px of an image's two derivatives have in common, over distances below `_LAGS`.

    Of the batches of all processes together.

    Args:
        x: (B, C, H, W), sides above `_LAGS`.

    Returns:
        One number for each derivative and distance, at most 1; contrast and brightness do not matter.
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
