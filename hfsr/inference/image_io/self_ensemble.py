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

from ..program.geometry import Region, Size
from ..runtime.memory import free_memory
from .sources_and_sinks import ImageSink, ImageSource

__all__ = ["VIEWS", "View", "ViewMean", "ViewSource"]

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

    def region(self, region: Region, size: Size) -> Region:
        """Region of an image of `size` that a region of the view shows."""
        top, bottom, left, right = region
        if self.transposed:
            top, bottom, left, right = left, right, top, bottom
        if self.upside_down:
            top, bottom = size.height - bottom, size.height - top
        if self.mirrored:
            left, right = size.width - right, size.width - left
        return Region(top, bottom, left, right)

    def apply(self, part: Tensor) -> Tensor:
        """A region of the image, (..., height, width), in the orientation of the view."""
        part = part.flip(self._flip_dims)
        return part.mT if self.transposed else part

    def invert(self, part: Tensor) -> Tensor:
        """A region of the view, (..., height, width), in the orientation of the image."""
        return (part.mT if self.transposed else part).flip(self._flip_dims)

    @property
    def _flip_dims(self) -> list[int]:
        return [-2] * self.upside_down + [-1] * self.mirrored


VIEWS = tuple(View(*flags) for flags in itertools.product((False, True), repeat=3))


class ViewSource:
    """A view of an image as an image source."""

    def __init__(self, view: View, source: ImageSource) -> None:
        self._view = view
        self._source = source
        self.size = view.size(source.size)

    def read(self, region: Region) -> Tensor:
        return self._view.apply(self._source.read(self._view.region(region, self._source.size)))


class ViewMean:
    """Mean of the results of all views, accumulated region by region.

    Args:
        size: of the result of the image, output px.
    """

    def __init__(self, size: Size) -> None:
        self.size = size
        self._sum = _zeros(size)

    def sink(self, view: View) -> ImageSink:
        """A sink that adds the result of a view."""
        return _ViewSink(view, self.size, self._sum)

    def write(self, sink: ImageSink, device: torch.device) -> None:
        """Writes the mean of all views from top to bottom, as tensors on `device`."""
        height, width = self.size
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            mean = self._sum[..., top:bottom, :] / len(VIEWS)
            sink.write(Region(top, bottom, 0, width), mean.to(device))


class _ViewSink:
    """Adds the result of a view to a sum in the orientation of the image."""

    def __init__(self, view: View, size: Size, total: Tensor) -> None:
        self._view = view
        self._size = size
        self._total = total

    def write(self, region: Region, part: Tensor) -> None:
        at = self._view.region(region, self._size)
        self._total[..., at.top : at.bottom, at.left : at.right] += self._view.invert(part.float().cpu())


def _zeros(size: Size) -> Tensor:
    """Float32 zeros, (1, 3, height, width), in a temporary file if memory is short."""
    shape = (1, 3, *size)
    if 12 * size.height * size.width <= free_memory(torch.device("cpu")) // 2:
        return torch.zeros(shape)
    with tempfile.TemporaryFile(prefix="hfsr-") as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
