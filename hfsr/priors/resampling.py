"""The two grids of one enlargement, and the ways between them: up by bicubic, down by bicubic or a kernel."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hfsr.archs import enlarged_length
from hfsr.degradations import cubic_taps, kernel_centres

__all__ = ["Origin", "Scaling"]

Taps = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Origin:
    """Where a band of rows begins, in rows of the whole LR and of the whole SR picture."""

    lq: int = 0
    sr: int = 0


@dataclass(frozen=True, eq=False)
class Scaling:
    """An enlargement by `across` and `down`, and the reduction that it undoes.

    Attributes:
        across, down: SR px per LR px, real, at least 1.
        kernel: weights over SR px that make an LR px, (h, w), sum 1; None: MATLAB's antialiased bicubic.
        shift: whether the kernel's centre of mass is put in place (`hfsr.degradations.kernel_centres`).
    """

    across: float
    down: float
    kernel: NDArray[np.float64] | None = None
    shift: bool = True

    def sr_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the enlargement of so many LR px."""
        return enlarged_length(height, self.down), enlarged_length(width, self.across)

    def lq_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the reduction of so many SR px."""
        return math.ceil(height / self.down - 1e-9), math.ceil(width / self.across - 1e-9)

    def reach(self) -> int:
        """Rows of LR px that one step of back-projection carries an error to either side, at most."""
        support = 2 * self.down if self.kernel is None else self.kernel.shape[0] + 2
        return 3 + math.ceil(support / self.down)

    def enlarge(self, lq: Tensor, size: tuple[int, int], origin: Origin | None = None) -> Tensor:
        """Bicubic enlargement of a picture, or of a band of its rows.

        Args:
            lq: (B, C, h, w).
            size: rows and columns to make.
            origin: where both begin, when they are bands.

        Returns:
            (B, C, *size); of a band, its first and last rows know nothing of what lies beyond.
        """
        origin = origin or Origin()
        rows = _enlarging(lq.shape[2], size[0], self.down, origin.sr, origin.lq)
        columns = _enlarging(lq.shape[3], size[1], self.across, 0, 0)
        return _read(_read(lq, rows, 2), columns, 3)

    def reduce(self, sr: Tensor, size: tuple[int, int], origin: Origin | None = None) -> Tensor:
        """The reduction of a picture, or of a band of its rows; arguments and result as for `enlarge`."""
        origin = origin or Origin()
        if self.kernel is None:
            rows = _reducing(sr.shape[2], size[0], self.down, origin.lq, origin.sr)
            columns = _reducing(sr.shape[3], size[1], self.across, 0, 0)
        else:
            sr = _blurred(sr, self.kernel)
            places = functools.partial(kernel_centres, self.kernel, shift=self.shift)
            centres = places(origin.lq + size[0], self.down, axis=0)[origin.lq :] - origin.sr
            rows = _taps(centres, sr.shape[2])
            columns = _taps(places(size[1], self.across, axis=1), sr.shape[3])
        return _read(_read(sr, rows, 2), columns, 3)


@functools.lru_cache(maxsize=256)  # the same few sizes come again and again while learning
def _enlarging(size: int, length: int, factor: float, start: int, offset: int) -> Taps:
    return _taps((np.arange(start, start + length) + 0.5) / factor - 0.5 - offset, size)


@functools.lru_cache(maxsize=256)
def _reducing(size: int, length: int, factor: float, start: int, offset: int) -> Taps:
    return _taps((np.arange(start, start + length) + 0.5) * factor - 0.5 - offset, size, 1 / factor)


def _taps(centres: NDArray, size: int, shrink: float = 1.0) -> Taps:
    positions, weights = cubic_taps(centres, size, shrink)
    return torch.from_numpy(positions), torch.from_numpy(weights).float()


def _read(x: Tensor, taps: Taps, dim: int) -> Tensor:
    """Weighted sums of the lines of one axis, (B, C, H, W)."""
    positions, weights = (t.to(x.device) for t in taps)
    shape = [1, 1, 1, 1]
    shape[dim] = len(weights)
    total = x.index_select(dim, positions[:, 0]).mul_(weights[:, 0].view(shape))
    # Fresh memory for each tap would take longer than the arithmetic; gradients need it all the same.
    read = None if x.requires_grad else torch.empty_like(total)
    for tap in range(1, weights.shape[1]):
        line = torch.index_select(x, dim, positions[:, tap], out=read)
        total.addcmul_(line, weights[:, tap].view(shape))
    return total


def _blurred(x: Tensor, kernel: NDArray) -> Tensor:
    """Correlates every channel with the kernel; its middle is (h // 2, w // 2), edges are mirrored."""
    for dim, side in ((2, kernel.shape[0]), (3, kernel.shape[1])):
        length = x.shape[dim]
        index = torch.arange(-(side // 2), length + side - 1 - side // 2, device=x.device) % (2 * length)
        x = x.index_select(dim, torch.minimum(index, 2 * length - 1 - index))
    weight = torch.from_numpy(kernel).to(x)[None, None].expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, weight.contiguous(), groups=x.shape[1])
