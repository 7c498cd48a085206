"""Receptive-field geometry: rectangles on feature maps, and the input region that an output region needs.

All of it is integer arithmetic on one axis at a time; an operator has one geometry for rows and one for
columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hfsr.archs import enlarged_length, source_of

__all__ = [
    "UNBOUNDED",
    "AxisGeometry",
    "CropAxis",
    "InterpolateAxis",
    "RealScaleAxis",
    "Region",
    "Size",
    "TransposedAxis",
    "UnshuffleAxis",
    "UpscaleAxis",
    "WindowAxis",
    "split_in_half",
    "tile_grid",
]


class Size(NamedTuple):
    """Height and width of a feature map in its own px."""

    height: int
    width: int


UNBOUNDED = Size(1 << 20, 1 << 20)
"""Size of an image so large that no window reaches its border."""


class Region(NamedTuple):
    """The px `[top, bottom) x [left, right)` of a feature map; may exceed the feature map until clipped."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def whole(cls, size: Size) -> Region:
        """Returns the region that covers a feature map of `size`."""
        return cls(0, size.height, 0, size.width)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def size(self) -> Size:
        """Height and width."""
        return Size(self.height, self.width)

    @property
    def area(self) -> int:
        """Number of px."""
        return self.height * self.width

    def clip(self, size: Size) -> Region:
        """Returns the part of the region inside a feature map of `size`."""
        return Region(
            max(self.top, 0), min(self.bottom, size.height), max(self.left, 0), min(self.right, size.width)
        )

    def union(self, other: Region | None) -> Region:
        """Returns the smallest region that contains both."""
        if other is None:
            return self
        return Region(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def rescale(self, image: Size, size: Size) -> Region:
        """Returns the part of a feature map of `size` that this region of the image owns.

        Regions that tile the image tile the feature map.
        """
        return Region(
            self.top * size.height // image.height,
            self.bottom * size.height // image.height,
            self.left * size.width // image.width,
            self.right * size.width // image.width,
        )


class AxisGeometry(Protocol):
    """Geometry of an operator along one axis."""

    def size(self, length: int) -> int:
        """Returns the length of the output for an input of `length` px."""

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Returns the half-open input range that outputs `[start, stop)` depend on, not clipped."""


@dataclass(frozen=True)
class WindowAxis:
    """A convolution or pooling window."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Px from the first to the last tap of the window."""
        return self.dilation * (self.kernel - 1) + 1

    def size(self, length: int) -> int:
        return (length + 2 * self.padding - self.extent) // self.stride + 1

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.stride - self.padding, (stop - 1) * self.stride - self.padding + self.extent


@dataclass(frozen=True)
class TransposedAxis:
    """A transposed convolution."""

    kernel: int
    stride: int
    padding: int
    output_padding: int = 0

    def size(self, length: int) -> int:
        return (length - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        first = -((self.kernel - 1 - start - self.padding) // self.stride)
        return first, (stop - 1 + self.padding) // self.stride + 1


@dataclass(frozen=True)
class UpscaleAxis:
    """Upsampling by an integer, each output px from one input px. Factor 1 is a pointwise operator."""

    factor: int = 1

    def size(self, length: int) -> int:
        return length * self.factor

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.factor, -(-stop // self.factor)


@dataclass(frozen=True)
class InterpolateAxis:
    """Interpolation by `factor / divisor`; the kernel spans `support` px of the coarser grid on both sides.

    Input ranges are whole blocks of `divisor` px, so that a part has the phases of the whole feature map.
    """

    factor: int
    support: int
    divisor: int = 1

    def size(self, length: int) -> int:
        return length * self.factor // self.divisor

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        # Output px o is centered on input px ((2 o + 1) * divisor - factor) / (2 * factor).
        reach = 2 * self.support * max(self.factor, self.divisor)
        first = ((2 * start + 1) * self.divisor - self.factor - reach) // (2 * self.factor) + 1
        end = -(-((2 * stop - 1) * self.divisor - self.factor + reach) // (2 * self.factor))
        return first - first % self.divisor, end + -end % self.divisor


@dataclass(frozen=True)
class RealScaleAxis:
    """Upsampling by a real number: output px i reads input px floor(i / scale) and `margin` px around it."""

    scale: float
    margin: int

    def size(self, length: int) -> int:
        return enlarged_length(length, self.scale)

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        first, last = source_of(start, self.scale), source_of(stop - 1, self.scale)
        return first - self.margin, last + self.margin + 1


@dataclass(frozen=True)
class UnshuffleAxis:
    """Space to depth by an integer."""

    factor: int

    def size(self, length: int) -> int:
        return length // self.factor

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.factor, stop * self.factor


@dataclass(frozen=True)
class CropAxis:
    """Removal of px at the start and at the end."""

    before: int
    after: int

    def size(self, length: int) -> int:
        return length - self.before - self.after

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        return start + self.before, stop + self.before


def tile_grid(size: Size, tile: int) -> Iterator[Region]:
    """Yields tiles of nearly equal size, at most `tile` px high and wide, row by row."""
    for top, bottom in _even_ranges(size.height, tile):
        for left, right in _even_ranges(size.width, tile):
            yield Region(top, bottom, left, right)


def split_in_half(region: Region) -> list[Region]:
    """Returns two halves of a region, cut across its longer side."""
    if region.height >= region.width:
        middle = (region.top + region.bottom) // 2
        return [region._replace(bottom=middle), region._replace(top=middle)]
    middle = (region.left + region.right) // 2
    return [region._replace(right=middle), region._replace(left=middle)]


def _even_ranges(length: int, tile: int) -> list[tuple[int, int]]:
    count = -(-length // tile)
    edges = [length * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))
