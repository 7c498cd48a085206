"""Padding to a multiple of a size, as networks and the planner apply it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pad_to_multiple", "padded_indices"]


def padded_indices(length: int, multiple: int) -> list[int]:
    """For each px of a side padded at its end to the next multiple, the index of the px that it copies.

    The image is reflected about its last px; if it is smaller than the padding, the last px is repeated.
    """
    extra = -length % multiple
    last = length - 1
    added = [last - i for i in range(1, extra + 1)] if extra <= last else [last] * extra
    return [*range(length), *added]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pads (B, C, H, W) at the bottom and on the right until both sides are multiples of `multiple`."""
    for dim in (2, 3):
        if x.shape[dim] % multiple:
            x = x.index_select(dim, torch.tensor(padded_indices(x.shape[dim], multiple), device=x.device))
    return x
