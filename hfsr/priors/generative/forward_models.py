"""Differentiable degradations of an image: (1, 3, S, S) in [0, 1] to the same shape and range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hfsr.priors.resampling import Resampler

__all__ = [
    "SR_SCALE",
    "ForwardModel",
    "bilinear_upsample",
    "downsample_and_upsample",
    "grayscale",
    "identity",
    "mask_out",
]

ForwardModel = Callable[[Tensor], Tensor]

SR_SCALE = 4
"""Scale of generative super-resolution."""
_LUMA_WEIGHTS = (0.2989, 0.5870, 0.1140)
_HOLE_VALUE = 0.5
"""Fill value of a hole: 0 in the network's range [-1, 1]."""


def identity(x: Tensor) -> Tensor:
    """Returns the image as it is: no degradation."""
    return x


def grayscale(x: Tensor) -> Tensor:
    """Returns three equal channels that hold the luma."""
    weights = torch.tensor(_LUMA_WEIGHTS, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)


def mask_out(known: Tensor) -> ForwardModel:
    """Returns a function that replaces the unknown pixels of an image by mid-gray.

    Args:
        known: 1 where the image is known, 0 in the hole, (1, 1, S, S).
    """
    return lambda x: x * known + _HOLE_VALUE * (1 - known)


def downsample_and_upsample(x: Tensor) -> Tensor:
    """Downsamples by 4 with a two-lobe Lanczos kernel, then upsamples to the original size (bilinear).

    The discriminator thus sees images of its own size. Edges are mirrored; the reference repeats edge pixels.
    """
    small = _LANCZOS.downsample(x, (x.shape[2] // SR_SCALE, x.shape[3] // SR_SCALE))
    return bilinear_upsample(small)


def bilinear_upsample(small: Tensor) -> Tensor:
    """Upsamples by 4, bilinear: the form in which downsampled images are compared."""
    return F.interpolate(small, scale_factor=SR_SCALE, mode="bilinear", align_corners=False)


def _lanczos_kernel() -> NDArray[np.float64]:
    t = (np.arange(4 * SR_SCALE) + 0.5 - 2 * SR_SCALE) / SR_SCALE
    line = np.sinc(t) * np.sinc(t / 2)
    return np.outer(line, line) / line.sum() ** 2


_LANCZOS = Resampler(SR_SCALE, SR_SCALE, _lanczos_kernel())
