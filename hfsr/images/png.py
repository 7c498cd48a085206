"""PNG written a few rows at a time, 8 or 16 bit: a result never has to be in memory as a whole."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images._rows import check_rows

__all__ = ["PngWriter"]

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_BAND = 1 << 18  # bytes filtered at once: the temporaries stay in the processor's cache


class PngWriter:
    """Writes one PNG to an open file; `close` ends it, and is where a missing row shows.

    Args:
        file: open for writing in binary; it is left open.
        width: px.
        height: px.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha (alpha not multiplied in).
        bits: per channel, 8 or 16.
        icc: the colour profile.
        exif: as Pillow gives it, with or without its "Exif" prefix.
        level: effort of compression, 0 to 9.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        *,
        channels: int,
        bits: int,
        icc: bytes | None = None,
        exif: bytes | None = None,
        level: int = 4,
    ) -> None:
        if channels not in _COLOUR_TYPES or bits not in (8, 16):
            raise ImageError(f"a PNG has 1 to 4 channels of 8 or 16 bit, not {channels} of {bits}")
        self._file = file
        self._shape = (width, channels)
        self._bits = bits
        self._missing = height
        self._above = np.zeros(width * channels * bits // 8, np.uint8)
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0))
        if icc:
            self._chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
        if exif:
            self._chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))

    def write(self, rows: NDArray) -> None:
        """Appends rows.

        Args:
            rows: uint8 or uint16 as `bits` says, shape (n, width) or (n, width, channels).

        Raises:
            ImageError: another shape or dtype, or more rows than the picture has.
        """
        width, channels = self._shape
        check_rows(rows, width=width, channels=channels, bits=self._bits, missing=self._missing)
        self._missing -= len(rows)
        step = max(1, _BAND // len(self._above))
        for start in range(0, len(rows), step):
            band = rows[start : start + step]
            data = np.ascontiguousarray(band, ">u2" if self._bits == 16 else np.uint8).view(np.uint8)
            self._write_band(data.reshape(len(band), -1))

    def close(self) -> None:
        """Ends the file.

        Raises:
            ImageError: rows are missing.
        """
        if self._missing:
            raise ImageError(f"the picture still lacks {self._missing} rows")
        self._data(self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _write_band(self, data: NDArray[np.uint8]) -> None:
        pixel = self._shape[1] * self._bits // 8
        lines = np.zeros(
            (len(data) + 1, pixel + data.shape[1]), np.int16
        )  # with the pixel and row before the first
        lines[0, pixel:] = self._above
        lines[1:, pixel:] = data
        filtered = np.empty((len(data), data.shape[1] + 1), np.uint8)
        filtered[:, 0] = 4
        filtered[:, 1:] = data - _paeth(lines[1:, :-pixel], lines[:-1, pixel:], lines[:-1, :-pixel])
        self._above = data[-1].copy()
        self._data(self._deflate.compress(filtered.tobytes()))

    def _data(self, data: bytes) -> None:
        if data:
            self._chunk(b"IDAT", data)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )


def _paeth(left: NDArray, above: NDArray, corner: NDArray) -> NDArray[np.uint8]:
    """PNG's filter 4: whichever of three neighbours is nearest to left + above - corner."""
    to_left, to_above = np.abs(above - corner), np.abs(left - corner)
    to_corner = np.abs(left + above - 2 * corner)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest).astype(np.uint8)
