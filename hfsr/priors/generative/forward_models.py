"""What was done to a picture, as functions that gradients pass: (1, 3, S, S) in [0, 1] to the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hfsr.priors.resampling import Scaling

__all__ = ["REDUCTION", "Degradation", "enlarged_by_lines", "grayed", "holed", "reduced", "unchanged"]

Degradation = Callable[[Tensor], Tensor]

REDUCTION = 4
"""Scale of the generative super-resolution."""
_GRAY = (0.2989, 0.5870, 0.1140)
_NOTHING = 0.5
"""What a hole is filled with: 0 in the network's range."""


def unchanged(x: Tensor) -> Tensor:
    """A picture that nothing was done to."""
    return x


def grayed(x: Tensor) -> Tensor:
    """Three equal channels, of the luma."""
    weights = torch.tensor(_GRAY, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)


def holed(known: Tensor) -> Degradation:
    """Takes away what is not known.

    Args:
        known: 1 where the picture is known, 0 in the hole, (1, 1, S, S).
    """
    return lambda x: x * known + _NOTHING * (1 - known)


def reduced(x: Tensor) -> Tensor:
    """A quarter of the size by Lanczos' kernel of two lobes, and enlarged to the old one again.

    The discriminator so sees pictures of its own size. Edges are mirrored, where the reference repeats them.
    """
    small = _LANCZOS.reduce(x, (x.shape[2] // REDUCTION, x.shape[3] // REDUCTION))
    return enlarged_by_lines(small)


def enlarged_by_lines(small: Tensor) -> Tensor:
    """The bilinear enlargement that the reduced picture is compared in."""
    return F.interpolate(small, scale_factor=REDUCTION, mode="bilinear", align_corners=False)


def _lanczos_kernel() -> NDArray[np.float64]:
    t = (np.arange(4 * REDUCTION) + 0.5 - 2 * REDUCTION) / REDUCTION
    line = np.sinc(t) * np.sinc(t / 2)
    return np.outer(line, line) / line.sum() ** 2


_LANCZOS = Scaling(REDUCTION, REDUCTION, _lanczos_kernel())
