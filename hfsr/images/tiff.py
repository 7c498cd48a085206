"""TIFF written a few rows at a time, 8 or 16 bit, gray or colour, with or without alpha: no library that hfsr
needs anyway writes 16-bit colour.

Baseline TIFF in strips, little endian, deflate with horizontal differences (Adobe's compression 8, predictor
2), as every program of the last twenty years reads it.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from hfsr.errors import ImageError
from hfsr.images._rows import check_rows

__all__ = ["TiffWriter"]

_STRIP = 1 << 18  # bytes of a strip before compression
_LIMIT = 1 << 32  # offsets have 32 bit
_HEAD = b"II*\0"
_SUBDIRECTORIES = (0x8769, 0x8825)  # EXIF's own and GPS
_OFFSETS, _COUNTS = 273, 279


class TiffWriter:
    """Writes one TIFF to an open file; `close` ends it, and is where a missing row shows.

    Args:
        file: open for writing in binary, at its start, seekable; it is left open.
        width: px.
        height: px.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha (alpha not multiplied in).
        bits: per channel, 8 or 16.
        icc: the colour profile.
        exif: as Pillow gives it; its tags become the file's own, but for those that describe the layout.
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
        if channels not in (1, 2, 3, 4) or bits not in (8, 16):
            raise ImageError(f"hfsr writes TIFF of 1 to 4 channels of 8 or 16 bit, not {channels} of {bits}")
        self._file = file
        self._shape = (width, channels)
        self._bits = bits
        self._missing = height
        self._level = level
        self._strip_rows = min(height, max(1, _STRIP // (width * channels * bits // 8)))
        self._waiting: list[NDArray] = []
        self._strips: list[tuple[int, int]] = []  # offset and bytes
        self._directory = _directory(exif)
        self._describe(height, icc)
        file.write(_HEAD + bytes(4))

    def write(self, rows: NDArray) -> None:
        """Appends rows.

        Args:
            rows: uint8 or uint16 as `bits` says, shape (n, width) or (n, width, channels).

        Raises:
            ImageError: another shape or dtype, more rows than the picture has, or a file past 4 GiB.
        """
        width, channels = self._shape
        check_rows(rows, width=width, channels=channels, bits=self._bits, missing=self._missing)
        self._missing -= len(rows)
        rows = rows.reshape(len(rows), width, channels)
        while len(rows):
            room = self._strip_rows - sum(map(len, self._waiting))
            self._waiting.append(rows[:room].copy())
            rows = rows[room:]
            if sum(map(len, self._waiting)) == self._strip_rows:
                self._write_strip()

    def close(self) -> None:
        """Ends the file.

        Raises:
            ImageError: rows are missing, or the file grew past 4 GiB.
        """
        if self._missing:
            raise ImageError(f"the picture still lacks {self._missing} rows")
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

    def _describe(self, height: int, icc: bytes | None) -> None:
        width, channels = self._shape
        tags = self._directory
        tags[256], tags[257] = width, height
        tags[258] = (self._bits,) * channels
        tags[259] = 8  # deflate
        tags[262] = 1 if channels < 3 else 2  # black is zero, RGB
        tags[277] = channels
        tags[278] = self._strip_rows
        tags[284] = 1  # interleaved
        tags[317] = 2  # horizontal differences
        if channels in (2, 4):
            tags[338] = 2  # alpha, not multiplied in
        if icc:
            tags.tagtype[34675] = 7
            tags[34675] = icc
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
