"""Self-ensemble: the mean of the results for the eight flips and transposes of an image.

Geometric self-ensemble of Lim et al. 2017 (EDSR): eight times the work, no training. Beside a plain run it
holds one float32 sum, in a file if that exceeds half of the free memory.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..execution.feature_store import Read, Write
from ..program.geometry import Region, Size
from ..runtime.memory import free_memory

__all__ = ["VIEWS", "View", "ViewMean"]

_BAND = 1 << 20  # px of the mean that are written at once


@dataclass(frozen=True)
class View:
    """A flip of rows, a flip of columns, then a transposition."""

    upside_down: bool
    mirrored: bool
    transposed: bool

    def size(self, size: Size) -> Size:
        """Size of the view of an image of this size."""
        return Size(size.width, size.height) if self.transposed else size

    def reader(self, size: Size, read: Read) -> Read:
        """Returns a reader of the view, given a reader of the image.

        Args:
            size: of the image.
            read: reads regions of the image.
        """

        def read_view(r: Region) -> Tensor:
            part = read(self.region(r, size)).flip(self._flip_dims)
            return part.mT if self.transposed else part

        return read_view

    def region(self, r: Region, size: Size) -> Region:
        """Region of an image of `size` that a region of the view shows."""
        top, bottom, left, right = (r.left, r.right, r.top, r.bottom) if self.transposed else r
        if self.upside_down:
            top, bottom = size.height - bottom, size.height - top
        if self.mirrored:
            left, right = size.width - right, size.width - left
        return Region(top, bottom, left, right)

    def invert(self, part: Tensor) -> Tensor:
        """A region of the view, (..., height, width), in the orientation of the image."""
        return (part.mT if self.transposed else part).flip(self._flip_dims)

    @property
    def _flip_dims(self) -> list[int]:
        return [-2] * self.upside_down + [-1] * self.mirrored


VIEWS = tuple(View(*flags) for flags in itertools.product((False, True), repeat=3))


class ViewMean:
    """Mean of the results of all views, accumulated region by region.

    Args:
        size: of the result of the image, output px.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._sum = _zeros(size)

    def writer(self, view: View) -> Write:
        """Returns a writer that adds the regions of a view's result, each exactly once."""

        def add(r: Region, part: Tensor) -> None:
            at = view.region(r, self._size)
            self._sum[..., at.top : at.bottom, at.left : at.right] += view.invert(part.float().cpu())

        return add

    def write(self, write: Write, device: torch.device) -> None:
        """Writes the mean of all views from top to bottom, as tensors on `device`."""
        height, width = self._size
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            mean = self._sum[..., top:bottom, :] / len(VIEWS)
            write(Region(top, bottom, 0, width), mean.to(device))


def _zeros(size: Size) -> Tensor:
    """Float32 zeros, (1, 3, height, width), in a temporary file if memory is short."""
    shape = (1, 3, *size)
    if 12 * size.height * size.width <= free_memory(torch.device("cpu")) // 2:
        return torch.zeros(shape)
    with tempfile.TemporaryFile(prefix="hfsr-") as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
