"""Resampling between the LR and the SR pixel grid: bicubic upsampling, bicubic or kernel downsampling."""

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
from hfsr.degradations import cubic_taps, kernel_centers

__all__ = ["BandOrigin", "Resampler"]

Taps = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class BandOrigin:
    """First row of a band, counted in rows of the full LR and of the full SR image."""

    lq: int = 0
    sr: int = 0


@dataclass(frozen=True, eq=False)
class Resampler:
    """Upsampling by `scale_x` and `scale_y`, and the downsampling that it inverts.

    Attributes:
        scale_x, scale_y: SR px per LR px along a row and along a column, real, at least 1.
        kernel: blur kernel over SR px whose weighted sum is one LR px, (h, w), sum 1; None: MATLAB's
            antialiased bicubic.
        shift: True if the kernel's center of mass is aligned with the LR px (see
            `hfsr.degradations.kernel_centers`).
    """

    scale_x: float
    scale_y: float
    kernel: NDArray[np.float64] | None = None
    shift: bool = True

    def sr_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) after upsampling an LR image of this size."""
        return enlarged_length(height, self.scale_y), enlarged_length(width, self.scale_x)

    def lq_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) after downsampling an SR image of this size."""
        return math.ceil(height / self.scale_y - 1e-9), math.ceil(width / self.scale_x - 1e-9)

    def halo_rows(self) -> int:
        """Returns an upper bound of the LR rows on either side that one back-projection step depends on."""
        support = 2 * self.scale_y if self.kernel is None else self.kernel.shape[0] + 2
        return 3 + math.ceil(support / self.scale_y)

    def upsample(self, lq: Tensor, size: tuple[int, int], origin: BandOrigin | None = None) -> Tensor:
        """Upsamples an image, or a band of its rows, by bicubic interpolation.

        Args:
            lq: (B, C, h, w).
            size: (height, width) of the result.
            origin: first rows of input and result, if they are bands.

        Returns:
            (B, C, *size). The first and last rows of a band are inexact: they depend on rows outside it.
        """
        origin = origin or BandOrigin()
        rows = _upsampling_taps(lq.shape[2], size[0], self.scale_y, origin.sr, origin.lq)
        columns = _upsampling_taps(lq.shape[3], size[1], self.scale_x, 0, 0)
        return _weighted_sum(_weighted_sum(lq, rows, 2), columns, 3)

    def downsample(self, sr: Tensor, size: tuple[int, int], origin: BandOrigin | None = None) -> Tensor:
        """Downsamples an image, or a band of its rows; arguments and result as for `upsample`."""
        origin = origin or BandOrigin()
        if self.kernel is None:
            rows = _downsampling_taps(sr.shape[2], size[0], self.scale_y, origin.lq, origin.sr)
            columns = _downsampling_taps(sr.shape[3], size[1], self.scale_x, 0, 0)
        else:
            sr = _blur(sr, self.kernel)
            centers = functools.partial(kernel_centers, self.kernel, shift=self.shift)
            row_centers = centers(origin.lq + size[0], self.scale_y, axis=0)[origin.lq :] - origin.sr
            rows = _taps(row_centers, sr.shape[2])
            columns = _taps(centers(size[1], self.scale_x, axis=1), sr.shape[3])
        return _weighted_sum(_weighted_sum(sr, rows, 2), columns, 3)


@functools.lru_cache(maxsize=256)  # training uses the same few sizes repeatedly
def _upsampling_taps(size: int, length: int, factor: float, start: int, offset: int) -> Taps:
    return _taps((np.arange(start, start + length) + 0.5) / factor - 0.5 - offset, size)


@functools.lru_cache(maxsize=256)
def _downsampling_taps(size: int, length: int, factor: float, start: int, offset: int) -> Taps:
    return _taps((np.arange(start, start + length) + 0.5) * factor - 0.5 - offset, size, 1 / factor)


def _taps(centers: NDArray, size: int, shrink: float = 1.0) -> Taps:
    positions, weights = cubic_taps(centers, size, shrink)
    return torch.from_numpy(positions), torch.from_numpy(weights).float()


def _weighted_sum(x: Tensor, taps: Taps, dim: int) -> Tensor:
    """Interpolates along one axis of (B, C, H, W): each output line is a weighted sum of input lines."""
    positions, weights = (t.to(x.device) for t in taps)
    shape = [1, 1, 1, 1]
    shape[dim] = len(weights)
    total = x.index_select(dim, positions[:, 0]).mul_(weights[:, 0].view(shape))
    # A new buffer for each tap would take longer than the arithmetic; autograd needs separate buffers.
    buffer = None if x.requires_grad else torch.empty_like(total)
    for tap in range(1, weights.shape[1]):
        line = torch.index_select(x, dim, positions[:, tap], out=buffer)
        total.addcmul_(line, weights[:, tap].view(shape))
    return total


def _blur(x: Tensor, kernel: NDArray) -> Tensor:
    """Correlates each channel with the kernel, whose center is (h // 2, w // 2); edges are mirrored."""
    for dim, side in ((2, kernel.shape[0]), (3, kernel.shape[1])):
        length = x.shape[dim]
        index = torch.arange(-(side // 2), length + side - 1 - side // 2, device=x.device) % (2 * length)
        x = x.index_select(dim, torch.minimum(index, 2 * length - 1 - index))
    weight = torch.from_numpy(kernel).to(x)[None, None].expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, weight.contiguous(), groups=x.shape[1])
