"""PNG written a few rows at a time, 8 or 16 bit: a result is never in memory as a whole."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from hfsr.images.encoding.row_writers import RowWriter

__all__ = ["PngWriter"]

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_BAND = 1 << 18  # bytes filtered at once: the temporaries stay in the processor's cache
_INCH = 0.0254  # meters


class PngWriter(RowWriter):
    """`RowWriter` of PNG, which cannot store IPTC."""

    def _begin(self) -> None:
        self._above = np.zeros(self._row_bytes, np.uint8)
        self._deflate = zlib.compressobj(self._level, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        self._file.write(b"\x89PNG\r\n\x1a\n")
        kind = _COLOR_TYPES[self._channels]
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", self._width, self._height, self._bits, kind, 0, 0, 0))
        for name, data in self._color:
            self._chunk(name, data)
        if self._icc:
            self._chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(self._icc))
        if self._dpi:
            across, down = (round(dpi / _INCH) for dpi in self._dpi)
            self._chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
        if self._exif:
            self._chunk(b"eXIf", self._exif.removeprefix(b"Exif\0\0"))
        for name, data in self._texts:
            self._chunk(name, data)
        if self._xmp:  # not compressed, without a language
            self._chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes(4) + self._xmp)

    def _append(self, rows: NDArray) -> None:
        step = max(1, _BAND // self._row_bytes)
        for start in range(0, len(rows), step):
            band = rows[start : start + step]
            data = np.ascontiguousarray(band, ">u2" if self._bits == 16 else np.uint8).view(np.uint8)
            self._write_band(data.reshape(len(band), -1))

    def _end(self) -> None:
        self._data(self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _write_band(self, data: NDArray[np.uint8]) -> None:
        pixel = self._channels * self._bits // 8
        # with the pixel and the row before the first
        lines = np.zeros((len(data) + 1, pixel + data.shape[1]), np.int16)
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
    """Predicts by PNG's filter 4: the one of three neighbors that is nearest to left + above - corner."""
    to_left, to_above = np.abs(above - corner), np.abs(left - corner)
    to_corner = np.abs(left + above - 2 * corner)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest).astype(np.uint8)
