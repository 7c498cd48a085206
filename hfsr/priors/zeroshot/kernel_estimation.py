"""The blur kernel of a picture, estimated from the picture alone by its small patches that recur.

After the principle of Michaeli and Irani, "Nonparametric Blind Super-Resolution", ICCV 2013: small patches
recur at other sizes in the same picture, and most of all when it is reduced by the kernel that made it from
the scene. So the best kernel is the one whose reduction holds the nearest neighbours of the picture's
patches. Differs from the paper: it is sought among Gaussians, round or long in any direction, where the paper
solves for free weights, which comes out too wide on small pictures.

It is a rough estimate: it tells a wide blur from a narrow one, and a long one's direction, in pictures with
sharp detail. Softness that the scene's picture had before counts as blur: narrow kernels come out too wide. A
kernel that was measured is better.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hfsr.errors import ImageError

__all__ = ["Gaussian", "estimate_kernel"]

_PATCH = 5
_QUERIES = 1200
_SIDE = 224
"""Of larger pictures the middle decides, so many px square."""
_WIDTH = 7
"""Side of a kernel in LR px."""
_WIDTHS = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25)
"""Standard deviations of the round kernels tried first, in LR px."""
_NARROWEST, _WIDEST = 0.15, 1.5
_STEPS = (0.35, 0.2, 0.1)
"""By such ratios, ever finer, the better ones are made wider, narrower and longer."""

Gaussian = tuple[float, float, float]
"""Standard deviations along and across, in px of the kernel, and the direction in radians from the x axis."""


def estimate_kernel(luma: Tensor, scale: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Estimates the kernel by which a picture was reduced.

    Args:
        luma: in [0, 1], (1, 1, H, W).
        scale: 2 or more, the enlargement that is wanted.
        seed: of the choice of patches.

    Returns:
        Weights over SR px, float64 (7 * scale, 7 * scale), not negative, sum 1.

    Raises:
        ImageError: the picture is too small or too flat to tell.
    """
    side = _WIDTH * scale
    need = side + 2 * _PATCH * scale
    if min(luma.shape[2:]) < need:
        size = f"{luma.shape[3]}x{luma.shape[2]}"
        raise ImageError(
            f"{size} px are too few to estimate a kernel from; need {need}x{need}, or name a kernel file"
        )
    search = _Search(_middle(luma.detach().cpu().float()), scale, seed)
    best = min(((width * scale,) * 2 + (0.0,) for width in _WIDTHS), key=search.distance)
    for step in _STEPS:
        best = search.refined(best, step)
    return gaussian(best, side)


def gaussian(shape: Gaussian, side: int) -> NDArray[np.float64]:
    """The kernel of this shape, (side, side), sum 1."""
    along, across, angle = shape
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return kernel / kernel.sum()


def _middle(luma: Tensor) -> Tensor:
    top, left = (max(length - _SIDE, 0) // 2 for length in luma.shape[2:])
    return luma[..., top : top + _SIDE, left : left + _SIDE]


def _patches(luma: Tensor) -> Tensor:
    """All patches without their means, (N, 25)."""
    patches = F.unfold(luma, _PATCH)[0].T
    return patches - patches.mean(1, keepdim=True)


class _Search:
    """Compares kernels by how much a picture's patches recur in its reduction."""

    def __init__(self, luma: Tensor, scale: int, seed: int) -> None:
        self.luma = luma
        self.scale = scale
        patches = _patches(luma)
        energy = patches.square().mean(1)
        detailed = (energy > energy.quantile(0.6)).nonzero()[:, 0]
        if energy.max() < 1e-4 or len(detailed) < 50:
            raise ImageError("the picture is too flat to estimate a kernel from; name a kernel file")
        order = torch.randperm(len(detailed), generator=torch.Generator().manual_seed(seed))
        self.queries = patches[detailed[order[:_QUERIES]]]
        self._known: dict[Gaussian, float] = {}

    def distance(self, shape: Gaussian) -> float:
        """Mean squared distance of the picture's patches to their nearest neighbours in its reduction."""
        if shape not in self._known:
            kernel = torch.from_numpy(gaussian(shape, _WIDTH * self.scale)).float()
            reduced = F.conv2d(self.luma, kernel[None, None], stride=self.scale)
            distances = torch.cdist(self.queries, _patches(reduced))
            self._known[shape] = float(distances.amin(1).square().mean())
        return self._known[shape]

    def refined(self, shape: Gaussian, step: float) -> Gaussian:
        """Goes to better neighbours until there is none."""
        while True:
            better = min(self._neighbours(shape, step), key=self.distance)
            if self.distance(better) >= self.distance(shape):
                return shape
            shape = better

    def _neighbours(self, shape: Gaussian, step: float) -> list[Gaussian]:
        along, across, angle = shape
        more, less = 1 + step, 1 / (1 + step)
        found = [(along * more, across * more, angle), (along * less, across * less, angle)]
        if math.isclose(along, across):  # round: it may become long in any direction
            found += [(along * more, across * less, k * math.pi / 8) for k in range(8)]
        else:
            found += [(along * more, across * less, angle), (along * less, across * more, angle)]
            found += [(along, across, angle + turn) for turn in (step / 2, -step / 2)]
        low, high = _NARROWEST * self.scale, _WIDEST * self.scale
        return [s for s in found if low <= min(s[:2]) and max(s[:2]) <= high] or [shape]
