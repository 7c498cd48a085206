"""Sums of globally pooled feature maps, accumulated over the parts of a stage."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from ..program.geometry import Size
from ..program.operator_mapping import pool_keeps_dims

__all__ = ["PooledSums"]

_SUMMED_AT_ONCE = 1 << 18
"""Values summed at once: after widening from a narrow dtype they still fit the caches of a CPU."""


class PooledSums:
    """Sum over height and width for every global pool of a stage."""

    def __init__(self) -> None:
        self._sums: dict[fx.Node, Tensor] = {}
        self._device = torch.device("cpu")

    def clear(self) -> None:
        """Removes all sums, before the next stage."""
        self._sums.clear()

    def add(self, pool: fx.Node, part: Tensor) -> None:
        """Adds a part of the pooled feature map, (1, C, height, width)."""
        self._device = part.device
        total = _sum(part)
        self._sums[pool] = self._sums[pool] + total if pool in self._sums else total

    def mean(self, pool: fx.Node, size: Size) -> Tensor:
        """Returns the output of a pool over a feature map of `size`: (1, C, 1, 1) or (1, C), float32."""
        mean = (self._sums[pool] / (size.height * size.width)).float().to(self._device)
        return mean[..., None, None] if pool_keeps_dims(pool) else mean


def _sum(part: Tensor) -> Tensor:
    """Returns the sum over height and width, (1, C): float32 over a few rows, float64 over these sums."""
    rows = max(1, _SUMMED_AT_ONCE // (part.shape[1] * part.shape[3]))
    sums = [band.sum((2, 3), dtype=torch.float32) for band in part.split(rows, 2)]
    stacked = torch.stack(sums)
    return (stacked.cpu() if part.device.type == "mps" else stacked).double().sum(0)  # MPS has no float64
