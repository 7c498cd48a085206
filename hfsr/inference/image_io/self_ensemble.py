"""Self-ensemble: a picture is run in the eight ways to flip and transpose it, and the results are averaged.

Lim et al. 2017 (EDSR) call it geometric self-ensemble. Eight times the work, no training. One sum in float32
is all that is held beside a plain run; past half of the free memory it lies in a file.
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

__all__ = ["VIEWS", "Mean", "View"]

_BAND = 1 << 20  # px of the mean that are handed over at once


@dataclass(frozen=True)
class View:
    """One way to hold a picture: rows reversed, columns reversed, then rows and columns exchanged."""

    upside_down: bool
    mirrored: bool
    transposed: bool

    def size(self, size: Size) -> Size:
        """Of the view, given the picture's."""
        return Size(size.width, size.height) if self.transposed else size

    def reader(self, size: Size, read: Read) -> Read:
        """Reads regions of the view, given how to read those of the picture.

        Args:
            size: of the picture.
            read: regions of the picture.
        """

        def read_view(r: Region) -> Tensor:
            part = read(self.region(r, size)).flip(self._flipped)
            return part.mT if self.transposed else part

        return read_view

    def region(self, r: Region, size: Size) -> Region:
        """Where a region of the view lies in a picture of `size`."""
        top, bottom, left, right = (r.left, r.right, r.top, r.bottom) if self.transposed else r
        if self.upside_down:
            top, bottom = size.height - bottom, size.height - top
        if self.mirrored:
            left, right = size.width - right, size.width - left
        return Region(top, bottom, left, right)

    def undone(self, part: Tensor) -> Tensor:
        """A region of the view, (..., height, width), as the picture holds it."""
        return (part.mT if self.transposed else part).flip(self._flipped)

    @property
    def _flipped(self) -> list[int]:
        return [-2] * self.upside_down + [-1] * self.mirrored


VIEWS = tuple(View(*flags) for flags in itertools.product((False, True), repeat=3))


class Mean:
    """The mean of the views' results, added up region by region.

    Args:
        size: of the picture's result, output px.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._sum = _zeros(size)

    def writer(self, view: View) -> Write:
        """Takes regions of a view's result; each exactly once."""

        def add(r: Region, part: Tensor) -> None:
            at = view.region(r, self._size)
            self._sum[..., at.top : at.bottom, at.left : at.right] += view.undone(part.float().cpu())

        return add

    def hand_over(self, write: Write, device: torch.device) -> None:
        """Writes the mean of all views, from top to bottom, as tensors on `device`."""
        height, width = self._size
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            mean = self._sum[..., top:bottom, :] / len(VIEWS)
            write(Region(top, bottom, 0, width), mean.to(device))


def _zeros(size: Size) -> Tensor:
    """Zeros of float32, (1, 3, height, width), in a file that vanishes with them where memory is short."""
    shape = (1, 3, *size)
    if 12 * size.height * size.width <= free_memory(torch.device("cpu")) // 2:
        return torch.zeros(shape)
    with tempfile.TemporaryFile(prefix="hfsr-") as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
