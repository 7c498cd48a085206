"""Estimation of the blur kernel of an image from the recurrence of its small patches.

Follows the principle of Michaeli and Irani, "Nonparametric Blind Super-Resolution", ICCV 2013: small patches
recur at other scales of the same image, and they recur most closely if the image is downsampled with the
kernel that produced it from the scene. The best kernel is thus the one whose downsampled image contains the
nearest neighbors of the image's patches. Differs from the paper: the kernel is searched among isotropic and
anisotropic Gaussians; the paper solves for free weights, which become too wide on small images.

The estimate is rough: it separates wide from narrow blur and finds the direction of an anisotropic blur in
images with sharp detail. Softness of the scene itself counts as blur, so narrow kernels are estimated too
wide. Prefer a measured kernel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hfsr.errors import ImageError

__all__ = ["GaussianShape", "estimate_kernel"]

_PATCH = 5
_QUERIES = 1200
_MAX_SIDE = 224
"""Side in px of the central square that is used of larger images."""
_KERNEL_SIDE = 7
"""Side of a kernel in LR px."""
_WIDTHS = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25)
"""Standard deviations in LR px of the isotropic kernels that are tried first."""
_MIN_STD, _MAX_STD = 0.15, 1.5
_STEPS = (0.35, 0.2, 0.1)
"""Relative steps of the local search over widths, from coarse to fine."""

GaussianShape = tuple[float, float, float]
"""(std along, std across, angle): standard deviations in px, angle of the long axis in radians."""


def estimate_kernel(luma: Tensor, scale: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Estimates the blur kernel with which an image was downsampled.

    Args:
        luma: luma in [0, 1], (1, 1, H, W).
        scale: integer scale of the upsampling, 2 or more.
        seed: seed of the choice of patches.

    Returns:
        Weights over SR px, float64, (7 * scale, 7 * scale), nonnegative, sum 1.

    Raises:
        ImageError: the image is too small or has too little detail.
    """
    side = _KERNEL_SIDE * scale
    need = side + 2 * _PATCH * scale
    if min(luma.shape[2:]) < need:
        size = f"{luma.shape[3]}x{luma.shape[2]}"
        raise ImageError(
            f"an image of {size} px is too small to estimate a kernel from; it needs {need}x{need} px; "
            "or name a kernel file"
        )
    search = _KernelSearch(_center_crop(luma.detach().cpu().float()), scale, seed)
    best = min(((width * scale,) * 2 + (0.0,) for width in _WIDTHS), key=search.distance)
    for step in _STEPS:
        best = search.refine(best, step)
    return gaussian_kernel(best, side)


def gaussian_kernel(shape: GaussianShape, side: int) -> NDArray[np.float64]:
    """Returns the Gaussian kernel of this shape, (side, side), sum 1."""
    along, across, angle = shape
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return kernel / kernel.sum()


def _center_crop(luma: Tensor) -> Tensor:
    top, left = (max(length - _MAX_SIDE, 0) // 2 for length in luma.shape[2:])
    return luma[..., top : top + _MAX_SIDE, left : left + _MAX_SIDE]


def _patches(luma: Tensor) -> Tensor:
    """Returns all patches, each minus its mean, (N, 25)."""
    patches = F.unfold(luma, _PATCH)[0].T
    return patches - patches.mean(1, keepdim=True)


class _KernelSearch:
    """Local search for the kernel whose downsampled image contains the most similar patches."""

    def __init__(self, luma: Tensor, scale: int, seed: int) -> None:
        self.luma = luma
        self.scale = scale
        patches = _patches(luma)
        energy = patches.square().mean(1)
        detailed = (energy > energy.quantile(0.6)).nonzero()[:, 0]
        if energy.max() < 1e-4 or len(detailed) < 50:
            raise ImageError("the image has too little detail to estimate a kernel from; name a kernel file")
        order = torch.randperm(len(detailed), generator=torch.Generator().manual_seed(seed))
        self.queries = patches[detailed[order[:_QUERIES]]]
        self._distances: dict[GaussianShape, float] = {}

    def distance(self, shape: GaussianShape) -> float:
        """Returns the mean squared distance of patches to their nearest neighbors after downsampling."""
        if shape not in self._distances:
            kernel = torch.from_numpy(gaussian_kernel(shape, _KERNEL_SIDE * self.scale)).float()
            downsampled = F.conv2d(self.luma, kernel[None, None], stride=self.scale)
            distances = torch.cdist(self.queries, _patches(downsampled))
            self._distances[shape] = float(distances.amin(1).square().mean())
        return self._distances[shape]

    def refine(self, shape: GaussianShape, step: float) -> GaussianShape:
        """Descends to better neighbors until there is none."""
        while True:
            better = min(self._neighbors(shape, step), key=self.distance)
            if self.distance(better) >= self.distance(shape):
                return shape
            shape = better

    def _neighbors(self, shape: GaussianShape, step: float) -> list[GaussianShape]:
        along, across, angle = shape
        wider, narrower = 1 + step, 1 / (1 + step)
        found = [(along * wider, across * wider, angle), (along * narrower, across * narrower, angle)]
        if math.isclose(along, across):  # isotropic: try to elongate it in every direction
            found += [(along * wider, across * narrower, k * math.pi / 8) for k in range(8)]
        else:
            found += [(along * wider, across * narrower, angle), (along * narrower, across * wider, angle)]
            found += [(along, across, angle + turn) for turn in (step / 2, -step / 2)]
        low, high = _MIN_STD * self.scale, _MAX_STD * self.scale
        return [s for s in found if low <= min(s[:2]) and max(s[:2]) <= high] or [shape]
