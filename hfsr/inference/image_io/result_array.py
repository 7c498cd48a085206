"""Arrays that receive a result region by region: whole, or row by row in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hfsr.errors import ImageError

from ..program.geometry import Region
from ..runtime.memory import free_memory

__all__ = ["ArrayWriter", "RegionWriter", "RowAssembler", "allocate_result"]

_FILE_FROM = 1 << 30
"""Bytes from which an array lies in a file even if memory would suffice."""


class RegionWriter(Protocol):
    """Receiver of a result as arrays."""

    def write(self, region: Region, values: NDArray) -> None:
        """Receives a region in output px, (height, width, ...); each px once."""


class ArrayWriter:
    """Region writer into one array."""

    def __init__(self, array: NDArray) -> None:
        self._array = array

    def write(self, region: Region, values: NDArray) -> None:
        self._array[region.top : region.bottom, region.left : region.right] = values


class RowAssembler:
    """Region writer that passes on whole rows from top to bottom; holds only the incomplete ones.

    Args:
        width: px of a row.
        write_rows: receives rows, (n, width, ...), each once and in order.
        alpha: (H, width), appended to the values as another channel.
    """

    def __init__(
        self, width: int, write_rows: Callable[[NDArray], None], alpha: NDArray | None = None
    ) -> None:
        self._width = width
        self._write_rows = write_rows
        self._alpha = alpha
        self._top = 0
        self._rows: NDArray | None = None
        self._filled = np.zeros(0, np.int64)  # px of each held row

    def write(self, region: Region, values: NDArray) -> None:
        if self._rows is None and region.top == self._top and region.width == self._width:
            self._pass_on(values)
            self._top = region.bottom
            return
        rows = self._hold(region.bottom - self._top, values)
        band = slice(region.top - self._top, region.bottom - self._top)
        rows[band, region.left : region.right] = values
        self._filled[band] += region.width
        complete = int(np.argmin(np.append(self._filled, 0) == self._width))
        if complete:
            self._pass_on(rows[:complete])
            self._top += complete
            rest = self._filled[complete:].copy()
            self._rows = rows[complete:].copy() if rest.any() else None
            self._filled = rest if rest.any() else np.zeros(0, np.int64)

    def _pass_on(self, rows: NDArray) -> None:
        if self._alpha is not None:
            rows = np.dstack([rows, self._alpha[self._top : self._top + len(rows)]])
        self._write_rows(rows)

    def _hold(self, count: int, like: NDArray) -> NDArray:
        """The held rows, extended to at least `count`."""
        if self._rows is None:
            self._rows = np.empty((0, self._width, *like.shape[2:]), like.dtype)
        missing = count - len(self._rows)
        if missing > 0:
            more = np.empty((missing, *self._rows.shape[1:]), like.dtype)
            self._rows = np.concatenate([self._rows, more])
            self._filled = np.append(self._filled, np.zeros(missing, np.int64))
        return self._rows


def allocate_result(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Allocates an array for a result, in a temporary file if it is large or exceeds half of the free memory.

    Raises:
        ImageError: it fits neither into memory nor on the disk.
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
