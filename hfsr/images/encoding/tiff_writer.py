"""TIFF written a few rows at a time, 8 or 16 bit or floats, gray or color, with or without alpha.

No required dependency of hfsr writes 16-bit color. The files are baseline TIFF in strips, little endian,
deflate with horizontal differences (Adobe's compression 8, predictor 2; 3 for floats), which every program of
the last twenty years reads.
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.images.decoding.tag_directory import DirectoryWriter, Entry
from hfsr.images.encoding.row_writers import RowWriter
from hfsr.images.metadata.exif import ExifTags, parse_exif

__all__ = ["TiffWriter"]

_STRIP = 1 << 18  # bytes of a strip before compression
_LIMIT = 1 << 32  # offsets have 32 bit
_HEAD = b"II*\0"


class TiffWriter(RowWriter):
    """`RowWriter` of TIFF; EXIF tags become tags of the file, except those that describe the layout."""

    allowed_bits = (8, 16, 32)

    def _begin(self) -> None:
        self._strip_rows = min(self._height, max(1, _STRIP // self._row_bytes))
        self._waiting: list[NDArray] = []
        self._strips: list[tuple[int, int]] = []  # offset and bytes
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
        tags = ExifTags("<") if self._exif is None else parse_exif(self._exif).little_endian()
        writer = DirectoryWriter("<", place)
        first = tags.write(writer, self._layout(tags))
        self._check_room(len(writer.packed))
        self._file.write(writer.packed)
        self._file.seek(len(_HEAD))
        self._file.write(struct.pack("<I", first))
        self._file.seek(0, 2)

    def _layout(self, tags: ExifTags) -> dict[int, Entry]:
        """Returns the tags of this file's layout, its profile and other metadata."""
        channels = self._channels
        found = {
            256: _longs(self._width),
            257: _longs(self._height),
            258: _shorts(*(self._bits,) * channels),
            259: _shorts(8),  # deflate
            262: _shorts(1 if channels < 3 else 2),  # black is zero, RGB
            273: _longs(*(offset for offset, _ in self._strips)),
            277: _shorts(channels),
            278: _longs(self._strip_rows),
            279: _longs(*(size for _, size in self._strips)),
            284: _shorts(1),  # interleaved
            317: _shorts(3 if self._bits == 32 else 2),  # horizontal differences
        }
        if self._bits == 32:
            found[339] = _shorts(*(3,) * channels)  # floats
        if channels in (2, 4):
            found[338] = _shorts(2)  # alpha, not multiplied in
        if self._dpi and not {282, 283} <= set(tags.main):  # EXIF may state it, even in centimeters
            found[282], found[283] = (_rational(value) for value in self._dpi)
            found[296] = _shorts(2)  # inches
        for tag, data in ((700, self._xmp), (33723, self._iptc), (34675, self._icc)):
            if data:
                found[tag] = Entry(7, len(data), data)
        return found

    def _write_strip(self) -> None:
        strip = np.concatenate(self._waiting)
        self._waiting.clear()
        if self._bits == 32:
            packed = _float_differences(strip)
        else:
            strip[:, 1:] -= strip[:, :-1].copy()  # wraps around, as the format requires
            packed = strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes()
        data = zlib.compress(packed, self._level)
        self._check_room(len(data))
        self._strips.append((self._file.tell(), len(data)))
        self._file.write(data + bytes(len(data) % 2))  # offsets are even

    def _check_room(self, size: int) -> None:
        if self._file.tell() + size >= _LIMIT:
            raise ImageError("a TIFF holds at most 4 GiB, and this one is larger; choose .png")


def _float_differences(strip: NDArray) -> bytes:
    """Encodes rows of floats (n, width, channels) for predictor 3.

    The bytes of all values of a row are grouped by significance, the most significant first, and stored as
    differences from byte to byte of a channel.
    """
    rows, width, channels = strip.shape
    values = np.ascontiguousarray(strip, ">f4").view(np.uint8).reshape(rows, width * channels, 4)
    data = np.ascontiguousarray(values.swapaxes(1, 2)).reshape(rows, 4 * width, channels)
    data[:, 1:] -= data[:, :-1].copy()
    return data.tobytes()


def _shorts(*values: int) -> Entry:
    return Entry(3, len(values), struct.pack(f"<{len(values)}H", *values))


def _longs(*values: int) -> Entry:
    return Entry(4, len(values), struct.pack(f"<{len(values)}I", *values))


def _rational(value: float) -> Entry:
    exact = Fraction(value).limit_denominator(1 << 16)
    return Entry(5, 1, struct.pack("<II", exact.numerator, exact.denominator))
