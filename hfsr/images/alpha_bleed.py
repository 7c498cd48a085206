"""Colors for what cannot be seen, so that no network meets an edge there which nobody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["underlaid"]


def underlaid(pixels: NDArray, alpha: NDArray) -> NDArray:
    """Gives transparent px the colors around them.

    What files hold there is arbitrary, and a network would draw it into the edge of what is seen. Colors
    multiplied by their opacity are no cure: the network rings at the new edge to black, and dividing its
    result by an opacity that was enlarged apart leaves a fringe.

    Args:
        pixels: RGB (H, W, 3) or gray (H, W), uint8, uint16 or float32.
        alpha: opacity (H, W), same dtype; its zeros are filled, all else stays.

    Returns:
        The same type and shape; `pixels` itself where there is nothing to fill, or nothing to fill it from.
    """
    import torch

    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return pixels
    filled = pixels.copy()
    is_float = alpha.dtype.kind == "f"
    peak = 1.0 if is_float else np.iinfo(alpha.dtype).max
    weights = torch.from_numpy(alpha.astype(np.float32))[None, None] / peak
    planes = filled[..., None] if filled.ndim == 2 else filled
    for channel in range(planes.shape[-1]):  # one at a time: a third of the memory
        plane = torch.from_numpy(planes[..., channel].astype(np.float32))[None, None]
        values = _spread(plane, weights)[0, 0].numpy()[hidden]
        planes[hidden, channel] = values if is_float else values.round()
    return filled


def _spread(values: Tensor, weights: Tensor) -> Tensor:
    """Fills px of weight 0 by the weighted means around them, taken as near as there are any: each level of a
    pyramid fills the holes of the finer one.
    """
    import torch
    from torch.nn import functional

    if bool((weights > 0).all()):
        return values
    # Sums would do; means keep small weights from vanishing on the way up.
    coarse_weights = functional.avg_pool2d(weights, 2, ceil_mode=True)
    sums = functional.avg_pool2d(values * weights, 2, ceil_mode=True)
    coarse = _spread(sums / coarse_weights.clamp(min=torch.finfo(torch.float32).tiny), coarse_weights)
    size = values.shape[-2:]
    around = functional.interpolate(coarse, scale_factor=2, mode="bilinear")[..., : size[0], : size[1]]
    return torch.where(weights > 0, values, around)
