"""TIFF written a few rows at a time, 8 or 16 bit, gray or colour, with or without alpha: no library that hfsr
needs anyway writes 16-bit colour.

Baseline TIFF in strips, little endian, deflate with horizontal differences (Adobe's compression 8, predictor
2), as every program of the last twenty years reads it.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from hfsr.errors import ImageError
from hfsr.images._rows import RowWriter

__all__ = ["TiffWriter"]

_STRIP = 1 << 18  # bytes of a strip before compression
_LIMIT = 1 << 32  # offsets have 32 bit
_HEAD = b"II*\0"
_SUBDIRECTORIES = (0x8769, 0x8825)  # EXIF's own and GPS
_OFFSETS, _COUNTS = 273, 279


class TiffWriter(RowWriter):
    """A `RowWriter` of TIFF; tags of EXIF become the file's own, but for those that describe the layout."""

    def _begin(self) -> None:
        self._strip_rows = min(self._height, max(1, _STRIP // self._row_bytes))
        self._waiting: list[NDArray] = []
        self._strips: list[tuple[int, int]] = []  # offset and bytes
        self._directory = _directory(self._exif)
        self._describe()
        self._file.write(_HEAD + bytes(4))

    def _append(self, rows: NDArray) -> None:
        while len(rows):
            room = self._strip_rows - sum(map(len, self._waiting))
            self._waiting.append(rows[:room].copy())
            rows = rows[room:]
            if sum(map(len, self._waiting)) == self._strip_rows:
                self._write_strip()

    def _end(self) -> None:
        if self._waiting:
            self._write_strip()
        place = self._file.tell()
        self._directory[_OFFSETS] = (0,) * len(self._strips)
        self._directory[_COUNTS] = tuple(size for _, size in self._strips)
        table = bytearray(self._directory.tobytes(place))
        _put_offsets(table, place, [offset for offset, _ in self._strips])
        self._check_room(len(table))
        self._file.write(table)
        self._file.seek(len(_HEAD))
        self._file.write(struct.pack("<I", place))
        self._file.seek(0, 2)

    def _describe(self) -> None:
        channels, tags = self._channels, self._directory
        tags[256], tags[257] = self._width, self._height
        tags[258] = (self._bits,) * channels
        tags[259] = 8  # deflate
        tags[262] = 1 if channels < 3 else 2  # black is zero, RGB
        tags[277] = channels
        tags[278] = self._strip_rows
        tags[284] = 1  # interleaved
        tags[317] = 2  # horizontal differences
        if channels in (2, 4):
            tags[338] = 2  # alpha, not multiplied in
        if self._dpi and not {282, 283} <= set(tags):  # EXIF may tell it, in centimetres even
            tags[282], tags[283] = self._dpi
            tags[296] = 2  # inches
        for tag, data in ((700, self._xmp), (33723, self._iptc), (34675, self._icc)):
            if data:
                tags.tagtype[tag] = 7  # bytes
                tags[tag] = data
        for tag in (256, 257, 278, _OFFSETS, _COUNTS):
            tags.tagtype[tag] = 4  # 32 bit

    def _write_strip(self) -> None:
        strip = np.concatenate(self._waiting)
        self._waiting.clear()
        strip[:, 1:] -= strip[:, :-1].copy()  # wraps around, as the format wants it
        data = zlib.compress(strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(), self._level)
        self._check_room(len(data))
        self._strips.append((self._file.tell(), len(data)))
        self._file.write(data + bytes(len(data) % 2))  # offsets are even

    def _check_room(self, size: int) -> None:
        if self._file.tell() + size >= _LIMIT:
            raise ImageError("a TIFF holds at most 4 GiB, and this one grew past that; choose .png")


def _directory(exif: bytes | None) -> ImageFileDirectory_v2:
    """The tags of an EXIF block, as the file's own."""
    tags = ImageFileDirectory_v2(_HEAD + bytes(4))
    source = Image.Exif()
    source.load(exif or b"")
    for tag, value in source.items():
        tags[tag] = value
    for tag in _SUBDIRECTORIES:
        if inner := source.get_ifd(tag):
            tags[tag] = dict(inner)
    return tags


def _put_offsets(table: bytearray, place: int, offsets: list[int]) -> None:
    """Sets StripOffsets in a packed directory; Pillow counts them from where the directory ends.

    Args:
        table: a directory, packed to lie at `place` of the file.
        place: bytes from the start of the file.
        offsets: of the strips, as many as the directory has room for.
    """
    (count,) = struct.unpack_from("<H", table)
    entries = [2 + 12 * k for k in range(count)]
    entry = next(at for at in entries if struct.unpack_from("<H", table, at) == (_OFFSETS,))
    at = entry + 8 if len(offsets) == 1 else struct.unpack_from("<I", table, entry + 8)[0] - place
    struct.pack_into(f"<{len(offsets)}I", table, at, *offsets)
