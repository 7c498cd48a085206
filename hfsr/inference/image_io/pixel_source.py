"""Conversion between arrays of pixels and the floats of networks, region by region, without a float copy."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr import images
from hfsr.errors import ImageError

from ..program.geometry import Region, Size
from .device_transfer import to_device
from .result_array import RegionWriter, allocate_result
from .tone_curve import ToneCurve

__all__ = ["FloatPixelSource", "PixelSink", "PixelSource", "check_array", "source_of"]

_BAND = 1 << 18
"""Px that are converted at once."""
_TOLERANCE = 0.5
"""Distance to [0, 1] that floats may have: the overshoot of another network, not a range of 0..255."""


class PixelSource:
    """An array as an image source, with the conversion of results to its type.

    Args:
        array: RGB (H, W, 3) or gray (H, W); uint8, uint16, or float32 in [0, 1].
        device: of the network.

    Raises:
        ImageError: another shape or type, NaN, or values outside [0, 1].
    """

    def __init__(self, array: NDArray, device: torch.device) -> None:
        self._check(array)
        self.array = array
        self.size = Size(*array.shape[:2])
        self._device = device
        self._is_gray = array.ndim == 2
        self._peak = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0

    def _check(self, array: NDArray) -> None:
        check_array(array)

    def read(self, region: Region) -> Tensor:
        """A region as networks take it: RGB float32 in [0, 1], (1, 3, height, width), on the device."""
        part = self.array[region.top : region.bottom, region.left : region.right]
        values = to_device(part, self._device)
        if part.dtype.kind != "f":
            values = values.div_(self._peak)
        return values.expand(1, 3, -1, -1) if self._is_gray else values.permute(2, 0, 1)[None]

    def convert(self, part: Tensor) -> Tensor:
        """Rounds a part of the result to the levels of the array, on the device.

        Args:
            part: RGB float, (1, 3, height, width).

        Returns:
            (height, width, 3), or (height, width) if the array is gray; 16 bit as int32.
        """
        values = part[0].mean(0) if self._is_gray else part[0].permute(1, 2, 0)
        return images.levels(values, self.array.dtype) if self.array.dtype.kind == "u" else values

    def to_array(self, values: Tensor) -> NDArray:
        """The output of `convert` in the type of the array."""
        return values.cpu().numpy().astype(self.array.dtype, copy=False)

    def whole(self) -> Tensor:
        """The whole image as `read` returns it, contiguous."""
        return self.read(Region.whole(self.size)).contiguous()

    def result(self, whole: Tensor) -> NDArray:
        """Converts a whole result to the type of the array, in bands, so that no second float copy is made.

        Args:
            whole: RGB float, (1, 3, H, W).
        """
        height, width = whole.shape[-2:]
        array = allocate_result((height, width, *self.array.shape[2:]), self.array.dtype)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            band = slice(top, top + rows)
            array[band] = self.to_array(self.convert(whole[..., band, :]))
        return array


class FloatPixelSource(PixelSource):
    """Floating-point samples of an image file as an image source: networks see them on a tone curve.

    Args:
        array: RGB (H, W, 3) or gray (H, W), float32, at least 0, finite.
        device: of the network.
        is_linear: True for linear light.
    """

    def __init__(self, array: NDArray, device: torch.device, *, is_linear: bool) -> None:
        self._curve = ToneCurve.of(array, is_linear=is_linear)
        super().__init__(array, device)

    def _check(self, array: NDArray) -> None:
        pass  # checked when it was read

    def read(self, region: Region) -> Tensor:
        return self._curve.encode(super().read(region))

    def convert(self, part: Tensor) -> Tensor:
        return self._curve.decode(super().convert(part))


def source_of(image: images.LoadedImage, device: torch.device, pixels: NDArray | None = None) -> PixelSource:
    """The source of an image; `pixels` take the place of its own."""
    array = image.pixels if pixels is None else pixels
    if image.bits == 32:
        return FloatPixelSource(array, device, is_linear=images.is_linear(image))
    return PixelSource(array, device)


class PixelSink:
    """Host sink that converts a result to the type of a pixel source.

    Args:
        pixels: the source.
        target: receives the regions as arrays, in output px.
    """

    def __init__(self, pixels: PixelSource, target: RegionWriter) -> None:
        self._pixels = pixels
        self._target = target

    def convert(self, part: Tensor) -> Tensor:
        return self._pixels.convert(part)

    def write(self, region: Region, part: Tensor) -> None:
        self._target.write(region, self._pixels.to_array(part))


def check_array(pixels: NDArray) -> None:
    """Checks shape, type and values of an array of pixels.

    Raises:
        ImageError: another shape or type, NaN, or values outside [0, 1].
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise ImageError(f"got an array of shape {pixels.shape}; use (H, W, 3) RGB or (H, W) gray")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageError(f"got an array of {pixels.dtype}; use uint8, uint16 or float32 in [0, 1]")
    if pixels.dtype == np.float32:
        low, high = float(pixels.min()), float(pixels.max())  # NaN if there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ImageError("the array holds NaN or infinite values; replace them first")
        if low < -_TOLERANCE or high > 1 + _TOLERANCE:
            raise ImageError(
                f"floats are in [0, 1], and this array runs from {low:g} to {high:g}; divide it by 255 "
                "or the like"
            )
