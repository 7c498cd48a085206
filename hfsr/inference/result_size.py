"""The size of a result: from a scale or from px, checked against what a model reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from hfsr.archs import enlarged_length
from hfsr.errors import OptionsError

from .program.geometry import Size

__all__ = ["MAX_SCALE", "WantedSize"]

MAX_SCALE = 16
"""Largest scale that is offered."""


@dataclass(frozen=True)
class WantedSize:
    """The size that a caller asks for; with nothing set, that of the model.

    A scale gives floor(side * scale), as networks of real scales do. One side in px gives the other one in
    proportion, rounded half up; both are taken as they are.

    Attributes:
        scale: px of the result per px of the image, from 1 to 16.
        width, height: of the result, px.
        max_side: the longer side of the result, px.

    Raises:
        OptionsError: a value is not allowed, or excludes another one.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    max_side: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            check_scale(self.scale)
        for name in ("width", "height", "max_side"):
            if (value := getattr(self, name)) is not None:
                _check_side(name, value)
        kinds = [self.scale is not None, self.max_side is not None, bool(self.width or self.height)]
        if sum(kinds) > 1:
            raise OptionsError("a scale, a longest side, and a width or height exclude each other; give one")

    @classmethod
    def parse(cls, scale: Any, size: Any) -> WantedSize:
        """Reads the arguments `scale` and `size` of an `Upscaler`.

        Raises:
            OptionsError: they are not a number and a pair (width, height), or both are given.
        """
        if size is None:
            return cls(scale=scale)
        if scale is not None:
            raise OptionsError("scale and size exclude each other; give one")
        if not isinstance(size, (tuple, list)) or len(size) != 2 or tuple(size) == (None, None):
            raise OptionsError(f"size {size!r} is not allowed; use (width, height) in px, one may be None")
        width, height = size
        return cls(width=width, height=height)

    @property
    def is_set(self) -> bool:
        """True if the size differs from what a model gives by itself."""
        return self != WantedSize()

    def of(self, image: Size) -> Size | None:
        """Size of the result of an image; None for that of the model."""
        height, width = image
        if self.scale is not None:
            return Size(enlarged_length(height, self.scale), enlarged_length(width, self.scale))
        if self.max_side is not None:
            scale = self.max_side / max(image)
            return Size(_rounded(height * scale), _rounded(width * scale))
        if self.width is None and self.height is None:
            return None
        wide = _rounded(width * self.height / height) if self.width is None and self.height else self.width
        high = _rounded(height * self.width / width) if self.height is None and self.width else self.height
        assert wide is not None
        assert high is not None
        return Size(int(high), int(wide))

    def scales(self, image: Size) -> tuple[float, float] | None:
        """Px of the result per px of an image, down and across, before rounding to whole px."""
        if self.scale is not None:
            return self.scale, self.scale
        if self.max_side is not None:
            return self.max_side / max(image), self.max_side / max(image)
        if self.width is None and self.height is None:
            return None
        across = None if self.width is None else self.width / image.width
        down = None if self.height is None else self.height / image.height
        both = down or across or 1.0
        return down or both, across or both

    def scale_of(self, image: Size) -> float | None:
        """Scale that a model needs for an image; None if nothing is asked for.

        Raises:
            OptionsError: the result would be smaller than the image, or over 16 times as large.
        """
        if self.scale is not None:
            return float(self.scale)
        result = self.of(image)
        if result is None:
            return None
        _check_enlarges(image, result)
        scale = max(result.height / image.height, result.width / image.width)
        if scale > MAX_SCALE:
            raise OptionsError(
                f"{result.width}x{result.height} px are x{scale:.4g} of {image.width}x{image.height} px; "
                f"x{MAX_SCALE} is the limit"
            )
        return scale

    def notes(self, image: Size) -> tuple[str, ...]:
        """A note if the result has other proportions than the image, beyond rounding."""
        if not (self.width and self.height):
            return ()
        proportional = image.width * self.height / image.height
        if abs(proportional - self.width) <= max(1, image.width / image.height):
            return ()
        percent = abs(self.width / proportional - 1) * 100
        change = "wider" if self.width > proportional else "narrower"
        return (f"its proportions changed: it is {percent:.3g} % {change}",)

    def within(self, image: Size, native: Size, scale: float) -> Size:
        """Size of the result by a model.

        Args:
            image: its size.
            native: size of the model's result.
            scale: of the model.

        Raises:
            OptionsError: the model does not reach it, or the result would be smaller than the image.
        """
        if self.scale is not None and self.scale > scale:
            raise OptionsError(
                f"scale {self.scale:g} is more than the model's x{scale:g}; use 1 to {scale:g}, or a model "
                "of a larger scale"
            )
        result = self.of(image)
        if result is None:
            return native
        _check_enlarges(image, result)
        if result.width > native.width or result.height > native.height:
            raise OptionsError(
                f"{result.width}x{result.height} px are more than the {native.width}x{native.height} px that "
                f"x{scale:g} makes of {image.width}x{image.height} px; ask for less, or use a model of a "
                "larger scale"
            )
        return result


def check_scale(scale: Any) -> float:
    """A number from 1 to 16.

    Raises:
        OptionsError: anything else.
    """
    is_number = isinstance(scale, (Real, np.floating)) and not isinstance(scale, bool)
    if not is_number or not math.isfinite(scale) or not 1 <= scale <= MAX_SCALE:
        raise OptionsError(f"scale {scale!r} is not allowed; use a number from 1 to {MAX_SCALE}")
    return float(scale)


def _check_side(name: str, value: Any) -> None:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < 1:
        raise OptionsError(f"{name.replace('_', ' ')} {value!r} is not allowed; use a whole number of px")


def _check_enlarges(image: Size, result: Size) -> None:
    if result.width < image.width or result.height < image.height:
        raise OptionsError(
            f"{result.width}x{result.height} px are less than the {image.width}x{image.height} px of the "
            "image; hfsr enlarges: ask for more"
        )


def _rounded(side: float) -> int:
    return max(1, math.floor(side + 0.5))
