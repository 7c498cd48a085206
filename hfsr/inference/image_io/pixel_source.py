"""Between arrays of pixels and what networks take and give, region by region: no float copy is made."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr import images
from hfsr.errors import ImageError

from ..program.geometry import Region, Size
from ..runtime.memory import free_memory
from .device_transfer import to_device

__all__ = ["PixelSource", "RowAssembler", "allocate_result"]

_FILE_FROM = 1 << 30
"""Bytes from which an array lies in a file, also where memory would do."""
_BAND = 1 << 18
"""Px that are converted at once."""
_BEYOND = 0.5
"""How far beyond [0, 1] floats may be: what other networks overshoot, not what is counted to 255."""


class PixelSource:
    """An array that a network reads region by region, and whose type its results are given.

    Args:
        array: RGB (H, W, 3) or gray (H, W); uint8, uint16, or float32 in [0, 1].
        device: where the network runs.

    Raises:
        ImageError: another shape or type, NaN, or values that are not in [0, 1].
    """

    def __init__(self, array: NDArray, device: torch.device) -> None:
        _check(array)
        self.array = array
        self.size = Size(*array.shape[:2])
        self._device = device
        self._gray = array.ndim == 2
        self._peak = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0

    def read(self, r: Region) -> Tensor:
        """A region as networks take it: RGB float32 in [0, 1], (1, 3, height, width), on the device."""
        values = self._fraction(self.array, r)
        return values.expand(1, 3, -1, -1) if self._gray else values.permute(2, 0, 1)[None]

    def ready(self, part: Tensor) -> Tensor:
        """What is to leave the device of a part of the result: whole levels, since floats are more to carry.

        Args:
            part: RGB float, (1, 3, height, width).

        Returns:
            (height, width, 3), or (height, width) where the array is gray; 16 bit as int32.
        """
        values = part[0].mean(0) if self._gray else part[0].permute(1, 2, 0)
        return images.levels(values, self.array.dtype) if self.array.dtype.kind == "u" else values

    def taken(self, values: Tensor) -> NDArray:
        """What `ready` gave, in the array's type."""
        return values.cpu().numpy().astype(self.array.dtype, copy=False)

    def whole(self) -> Tensor:
        """All of it as `read` gives it, contiguous."""
        return self.read(Region(0, self.size.height, 0, self.size.width)).contiguous()

    def result(self, whole: Tensor) -> NDArray:
        """All of the result in the array's type; converted in bands, so that no second float copy is made.

        Args:
            whole: RGB float, (1, 3, H, W).
        """
        height, width = whole.shape[-2:]
        array = allocate_result((height, width, *self.array.shape[2:]), self.array.dtype)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            band = slice(top, top + rows)
            array[band] = self.taken(self.ready(whole[..., band, :]))
        return array

    def _fraction(self, array: NDArray, r: Region) -> Tensor:
        part = to_device(array[r.top : r.bottom, r.left : r.right], self._device)
        return part if array.dtype.kind == "f" else part.div_(self._peak)


class RowAssembler:
    """Makes whole rows, from top to bottom, of parts that may come side by side.

    Only the rows that are not complete yet are held.

    Args:
        width: px of a row.
        take: is given rows, (n, width, ...), each once and in order.
        alpha: (H, width), put beside the values as another channel.
    """

    def __init__(self, width: int, take: Callable[[NDArray], None], alpha: NDArray | None = None) -> None:
        self._width = width
        self._take_rows = take
        self._alpha = alpha
        self._top = 0
        self._rows: NDArray | None = None
        self._filled = np.zeros(0, np.int64)

    def write(self, r: Region, values: NDArray) -> None:
        """Takes a part, (height, width, ...); no px twice."""
        if self._rows is None and r.top == self._top and r.width == self._width:
            self._take(values)
            self._top = r.bottom
            return
        rows = self._room(r.bottom - self._top, values)
        band = slice(r.top - self._top, r.bottom - self._top)
        rows[band, r.left : r.right] = values
        self._filled[band] += r.width
        complete = int(np.argmin(np.append(self._filled, 0) == self._width))
        if complete:
            self._take(rows[:complete])
            self._top += complete
            rest = self._filled[complete:].copy()
            self._rows = rows[complete:].copy() if rest.any() else None
            self._filled = rest if rest.any() else np.zeros(0, np.int64)

    def _take(self, rows: NDArray) -> None:
        if self._alpha is not None:
            rows = np.dstack([rows, self._alpha[self._top : self._top + len(rows)]])
        self._take_rows(rows)

    def _room(self, count: int, like: NDArray) -> NDArray:
        """The rows that are held, at least `count` of them."""
        if self._rows is None:
            self._rows = np.empty((0, self._width, *like.shape[2:]), like.dtype)
        missing = count - len(self._rows)
        if missing > 0:
            more = np.empty((missing, *self._rows.shape[1:]), like.dtype)
            self._rows = np.concatenate([self._rows, more])
            self._filled = np.append(self._filled, np.zeros(missing, np.int64))
        return self._rows


def allocate_result(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """An array for a result; one that is very large, or larger than half of the free memory, lies in a file
    that vanishes with it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < _FILE_FROM and size <= free_memory(torch.device("cpu")) // 2:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="hfsr-") as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        folder = tempfile.gettempdir()
        raise ImageError(
            f"the result takes {size / 2**30:.1f} GiB, which fit neither into memory nor in '{folder}' "
            f"({error.strerror}); write to a .png, whose rows are written as they come"
        ) from error


def _check(pixels: NDArray) -> None:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise ImageError(f"got an array of shape {pixels.shape}; use (H, W, 3) RGB or (H, W) gray")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageError(f"got an array of {pixels.dtype}; use uint8, uint16 or float32 in [0, 1]")
    if pixels.dtype == np.float32:
        low, high = float(pixels.min()), float(pixels.max())  # NaN if there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ImageError("the array holds NaN or infinite values; replace them first")
        if low < -_BEYOND or high > 1 + _BEYOND:
            raise ImageError(
                f"floats are in [0, 1], and this array runs from {low:g} to {high:g}; divide it by 255 "
                "or the like"
            )
