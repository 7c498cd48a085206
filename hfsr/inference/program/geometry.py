"""Rectangles on a feature map, and how an operator's output rectangle maps back to the input it needs.

Everything here is integer arithmetic along one axis at a time; an operator has one rule for rows and one for
columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hfsr.archs import enlarged_length, source_of

__all__ = [
    "FAR",
    "AxisRule",
    "Enlarge",
    "Interpolate",
    "Project",
    "Reduce",
    "Region",
    "Size",
    "Spread",
    "Trim",
    "Window",
    "cut",
    "split",
]


class Size(NamedTuple):
    """Height and width of a map in its own px."""

    height: int
    width: int


FAR = Size(1 << 20, 1 << 20)
"""An image that no window reaches the end of."""


class Region(NamedTuple):
    """The px `[top, bottom) x [left, right)` of a map; may reach beyond the map until it is clipped."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    def clipped(self, size: Size) -> Region:
        return Region(
            max(self.top, 0), min(self.bottom, size.height), max(self.left, 0), min(self.right, size.width)
        )

    def union(self, other: Region | None) -> Region:
        """The smallest region that holds both."""
        if other is None:
            return self
        return Region(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def scaled(self, image: Size, size: Size) -> Region:
        """The part of a map of `size` that this part of the image owns; regions that tile the one tile the
        other.
        """
        return Region(
            self.top * size.height // image.height,
            self.bottom * size.height // image.height,
            self.left * size.width // image.width,
            self.right * size.width // image.width,
        )


class AxisRule(Protocol):
    """The geometry of an operator along one axis."""

    def size(self, length: int) -> int:
        """Length of the output of an input of `length` px."""

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open input range, before clipping to the map, that outputs `[start, stop)` depend on."""


@dataclass(frozen=True)
class Window:
    """A convolution or a pooling window."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def size(self, length: int) -> int:
        return (length + 2 * self.padding - self.reach) // self.stride + 1

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.stride - self.padding, (stop - 1) * self.stride - self.padding + self.reach


@dataclass(frozen=True)
class Spread:
    """A transposed convolution."""

    kernel: int
    stride: int
    padding: int
    output_padding: int = 0

    def size(self, length: int) -> int:
        return (length - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        first = -((self.kernel - 1 - start - self.padding) // self.stride)
        return first, (stop - 1 + self.padding) // self.stride + 1


@dataclass(frozen=True)
class Enlarge:
    """Enlargement by a whole number, each output px from its own input px. Factor 1: a pointwise map."""

    factor: int = 1

    def size(self, length: int) -> int:
        return length * self.factor

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.factor, -(-stop // self.factor)


@dataclass(frozen=True)
class Interpolate:
    """Interpolation by `factor / divisor`; its kernel ends `support` px of the coarser grid to either side.

    Asks for whole blocks of `divisor` px, so that a part of a map has the phases of the whole.
    """

    factor: int
    support: int
    divisor: int = 1

    def size(self, length: int) -> int:
        return length * self.factor // self.divisor

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        # Output px o is centred on input px ((2 o + 1) * divisor - factor) / (2 * factor).
        reach = 2 * self.support * max(self.factor, self.divisor)
        first = ((2 * start + 1) * self.divisor - self.factor - reach) // (2 * self.factor) + 1
        end = -(-((2 * stop - 1) * self.divisor - self.factor + reach) // (2 * self.factor))
        return first - first % self.divisor, end + -end % self.divisor


@dataclass(frozen=True)
class Project:
    """Enlargement by a real number: output px i sees input px floor(i / scale) and `margin` px around it."""

    scale: float
    margin: int

    def size(self, length: int) -> int:
        return enlarged_length(length, self.scale)

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        first, last = source_of(start, self.scale), source_of(stop - 1, self.scale)
        return first - self.margin, last + self.margin + 1


@dataclass(frozen=True)
class Reduce:
    """Space to depth by a whole number."""

    factor: int

    def size(self, length: int) -> int:
        return length // self.factor

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.factor, stop * self.factor


@dataclass(frozen=True)
class Trim:
    """Cuts so many px off the start and the end."""

    before: int
    after: int

    def size(self, length: int) -> int:
        return length - self.before - self.after

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        return start + self.before, stop + self.before


def cut(size: Size, tile: int) -> Iterator[Region]:
    """Cuts a map row by row into near-equal pieces that are at most `tile` px high and wide."""
    for top, bottom in _even(size.height, tile):
        for left, right in _even(size.width, tile):
            yield Region(top, bottom, left, right)


def split(region: Region) -> list[Region]:
    """Two halves of a region across its longer side."""
    if region.height >= region.width:
        middle = (region.top + region.bottom) // 2
        return [region._replace(bottom=middle), region._replace(top=middle)]
    middle = (region.left + region.right) // 2
    return [region._replace(right=middle), region._replace(left=middle)]


def _even(length: int, tile: int) -> list[tuple[int, int]]:
    count = -(-length // tile)
    edges = [length * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))
