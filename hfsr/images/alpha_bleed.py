"""Alpha bleeding: fills the color of transparent px from their surroundings, without an invisible edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LEAST_OPACITY", "underlaid"]

LEAST_OPACITY = 1 / 65535
"""Floats below it count as fully transparent."""


def underlaid(pixels: NDArray, alpha: NDArray) -> NDArray:
    """Fills transparent px with the colors around them.

    The values that files hold there are arbitrary, and a network would blend them into the edge of the
    visible region. Premultiplied colors do not solve this: the network rings at the new edge to black, and
    dividing its result by a separately enlarged opacity leaves a fringe.

    Args:
        pixels: RGB (H, W, 3) or gray (H, W), uint8, uint16 or float32.
        alpha: opacity (H, W), same dtype; px with opacity 0 are filled, all others are unchanged. Floats
            below `LEAST_OPACITY` count as 0: a color divided by them can be anything.

    Returns:
        The same type and shape; `pixels` itself if all px or none are transparent.
    """
    import torch

    is_float = alpha.dtype.kind == "f"
    hidden = alpha < LEAST_OPACITY if is_float else alpha == 0
    if hidden.all() or not hidden.any():
        return pixels
    filled = pixels.copy()
    peak = 1.0 if is_float else np.iinfo(alpha.dtype).max
    weights = torch.from_numpy(np.where(hidden, 0, alpha).astype(np.float32))[None, None] / peak
    planes = filled[..., None] if filled.ndim == 2 else filled
    for channel in range(planes.shape[-1]):  # one at a time: a third of the memory
        plane = torch.from_numpy(planes[..., channel].astype(np.float32))[None, None]
        values = _spread(plane, weights)[0, 0].numpy()[hidden]
        planes[hidden, channel] = values if is_float else values.round()
    return filled


def _spread(values: Tensor, weights: Tensor) -> Tensor:
    """Fills px of weight 0 with the nearest weighted means around them.

    Each level of a pyramid fills the holes of the finer one.
    """
    import torch
    from torch.nn import functional

    if bool((weights > 0).all()):
        return values
    # Sums would suffice; means keep small weights from vanishing in the coarse levels.
    coarse_weights = functional.avg_pool2d(weights, 2, ceil_mode=True)
    sums = functional.avg_pool2d(values * weights, 2, ceil_mode=True)
    coarse = _spread(sums / coarse_weights.clamp(min=torch.finfo(torch.float32).tiny), coarse_weights)
    size = values.shape[-2:]
    around = functional.interpolate(coarse, scale_factor=2, mode="bilinear")[..., : size[0], : size[1]]
    return torch.where(weights > 0, values, around)
