"""The tags of a TIFF or BigTIFF that say what its samples mean, and a rewritten file that Pillow can open.

Pillow chooses a mode by a table of known layouts; a layout that is missing there, or that is there under a
mode of another range, is read by `tiff_samples` instead.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from hfsr.errors import ImageError

__all__ = ["TiffLayout", "read_tiff_layout"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, STRIP_ROWS, COUNTS, PLANAR, PREDICTOR = 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA, FORMAT = 338, 339
_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
_PHOTOSHOP = (34377, 37724)  # resources and layers: large, and never used

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_TYPES = {16: (4, "Q", "I"), 17: (9, "q", "i"), 18: (4, "Q", "I")}  # 64-bit types and their 32-bit form
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_PHOTOMETRIC_NAMES = {
    **{0: "gray", 1: "gray", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab"},
    **{10: "Lab", 32803: "camera raw", 32844: "LogL", 32845: "LogLuv", 34892: "camera raw"},
}
_FORMAT_NAMES = {
    2: "signed integers",
    3: "floating-point numbers",
    5: "complex numbers",
    6: "complex numbers",
}
_MOST_PAGES = 10_000


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    data: bytes | int
    """The values, or where they lie in the file."""


@dataclass(frozen=True)
class TiffLayout:
    """The first image of a TIFF: its tags, read from an open file when they are asked for."""

    file: BinaryIO
    order: str
    """Byte order, "<" or ">"."""
    is_big: bool
    size: int
    """Bytes of the file."""
    entries: Mapping[int, _Entry]
    pages: int

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Integers of a tag, or the default if it is missing or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return default
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.kind]}", self._data(entry))

    def value(self, tag: int, default: int) -> int:
        """First integer of a tag."""
        return (*self.values(tag), default)[0]

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self.value(SAMPLES, 1)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        return self._per_sample(BITS, 1)

    @property
    def formats(self) -> tuple[int, ...]:
        """SampleFormat of each sample: 1 unsigned, 2 signed, 3 floating point, 4 undefined."""
        return self._per_sample(FORMAT, 1)

    @property
    def colors(self) -> int:
        """Samples of a pixel that are color, without extra samples."""
        return {0: 1, 1: 1, 3: 1, 4: 1, 5: 4}.get(self.value(PHOTOMETRIC, 0), 3)

    @property
    def extra(self) -> tuple[int, ...]:
        """Meaning of each extra sample: 0 unspecified, 1 alpha multiplied in, 2 alpha."""
        count = max(self.samples - self.colors, 0)
        # without the tag, a single extra sample is alpha to most programs
        found = self.values(EXTRA, (2,) if count == 1 else ())
        return (*found, *(0,) * count)[:count]

    @property
    def description(self) -> str:
        """Format, channels and depth, as in "TIFF, RGB with 2 extra channels, 16 bit"."""
        name = _PHOTOMETRIC_NAMES.get(self.value(PHOTOMETRIC, 0), "of an unknown kind of color")
        count = len(self.extra)
        beside = f" with {count} extra channel{'s' * (count > 1)}" if count else ""
        depths = sorted(set(self.bits))
        return f"TIFF, {name}{beside}, {' and '.join(map(str, depths))} bit"

    def check_samples(self) -> None:
        """Refuses samples whose black and white no tag defines, and previews of camera raw files.

        Raises:
            ImageError: says what the samples are.
        """
        kinds = {kind for kind in self.formats if kind in _FORMAT_NAMES}
        if _DNG_VERSION in self.entries or "raw" in _PHOTOMETRIC_NAMES.get(self.value(PHOTOMETRIC, 0), ""):
            raise ImageError("it is a camera raw file (DNG); develop it to a 16-bit TIFF first")
        if self.value(_SUBFILE, 0) & 1 and _SUB_IFDS in self.entries:
            raise ImageError("its first image is a small preview, as in camera raw files; develop it first")
        if kinds:
            raise ImageError(
                f"its samples are {_FORMAT_NAMES[min(kinds)]} ({self.description}); "
                "convert it to unsigned 16-bit integers first"
            )
        if max(self.bits) > 16:
            raise ImageError(
                f"its samples are {max(self.bits)}-bit integers ({self.description}); "
                "convert it to unsigned 16-bit integers first"
            )

    def rewritten(self, replaced: Mapping[int, tuple[int, ...]], dropped: Collection[int] = ()) -> bytes:
        """The file as a classic TIFF with one image and other tags.

        Args:
            replaced: new integers by tag.
            dropped: tags to leave out.
        """
        self.file.seek(0)
        data = self.file.read()
        left_out = {*dropped, *replaced, _SUB_IFDS, *_PHOTOSHOP}
        entries = {tag: entry for tag, entry in self.entries.items() if tag not in left_out}
        for tag, values in replaced.items():
            entries[tag] = _Entry(4, len(values), struct.pack(f"{self.order}{len(values)}I", *values))
        tail = _Tail(len(data) + len(data) % 2)
        at = self._append(tail, entries, depth=0)
        mark = b"II" if self.order == "<" else b"MM"
        head = mark + struct.pack(f"{self.order}HI", 42, at)
        return b"".join((head, data[8:], bytes(len(data) % 2), *tail.parts))

    def as_gray(self) -> bytes:
        """The file as an 8-bit gray TIFF of the same size and with the same metadata, without samples."""
        replaced = {BITS: (8,), PHOTOMETRIC: (1,), SAMPLES: (1,), COMPRESSION: (1,), PLANAR: (1,)}
        tiled = (TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS)
        replaced |= {OFFSETS: (8,), COUNTS: (self.value(WIDTH, 0) * self.value(HEIGHT, 0) & 0xFFFFFFFF,)}
        return self.rewritten(replaced, (*tiled, STRIP_ROWS, EXTRA, FORMAT, PREDICTOR))

    def _append(self, tail: _Tail, entries: Mapping[int, _Entry], depth: int) -> int:
        """Writes a directory behind its values and returns its offset."""
        fields = []
        for tag, entry in sorted(entries.items()):
            kind, data = entry.kind, self._data(entry)
            if kind in _BIG_TYPES:
                kind, wide, narrow = _BIG_TYPES[kind]
                numbers = struct.unpack(f"{self.order}{entry.count}{wide}", data)
                data = struct.pack(f"{self.order}{entry.count}{narrow}", *numbers)
            if self.is_big and tag in (_EXIF_IFD, _GPS_IFD, _INTEROP_IFD):
                if depth > 1:
                    continue  # deeper than EXIF nests: damaged
                inner, _ = _read_directory(self.file, self.values_of(entry)[0], self.order, True, self.size)
                data = struct.pack(f"{self.order}I", self._append(tail, inner, depth + 1))
                kind = 4
            field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{self.order}I", tail.add(data))
            fields.append(struct.pack(f"{self.order}HHI", tag, kind, entry.count) + field)
        count = struct.pack(f"{self.order}H", len(fields))
        return tail.add(count + b"".join(fields) + bytes(4))

    def values_of(self, entry: _Entry) -> tuple[int, ...]:
        """Integers of an entry."""
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.kind]}", self._data(entry))

    def _data(self, entry: _Entry) -> bytes:
        if isinstance(entry.data, bytes):
            return entry.data
        size = entry.count * _type_bytes(entry.kind)
        self.file.seek(entry.data)
        data = self.file.read(size)
        if len(data) < size:
            raise ImageError("its tags are cut short")
        return data

    def _per_sample(self, tag: int, default: int) -> tuple[int, ...]:
        found = self.values(tag, (default,))
        count = max(self.samples, 1)
        return found[:count] if len(found) >= count else (found[0],) * count


class _Tail:
    """Bytes that are appended to a file, with their offsets."""

    def __init__(self, start: int) -> None:
        self.parts: list[bytes] = []
        self._end = start

    def add(self, data: bytes) -> int:
        offset = self._end
        self.parts.append(data + bytes(len(data) % 2))
        self._end += len(self.parts[-1])
        return offset


def read_tiff_layout(file: BinaryIO) -> TiffLayout | None:
    """Reads the first directory of a TIFF.

    Returns:
        None: the file is no TIFF, or its directory is damaged.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    (magic,) = struct.unpack(f"{order}H", head[2:4])
    if magic not in (42, 43):
        return None
    size = file.seek(0, os.SEEK_END)
    is_big = magic == 43
    try:
        (first,) = struct.unpack(f"{order}{'Q' if is_big else 'I'}", head[8:16] if is_big else head[4:8])
        entries, _ = _read_directory(file, first, order, is_big, size)
        layout = TiffLayout(
            file, order, is_big, size, entries, _count_pages(file, first, order, is_big, size)
        )
        usable = all(layout.values(tag) for tag in (WIDTH, HEIGHT)) and bool(layout.bits)
    except (struct.error, ImageError):
        return None
    finally:
        file.seek(0)
    return layout if usable else None


def _read_directory(
    file: BinaryIO, offset: int, order: str, is_big: bool, size: int
) -> tuple[dict[int, _Entry], int]:
    """Entries of a directory, without those that reach beyond the file, and the next one's offset.

    Raises:
        struct.error: the directory is cut short.
    """
    number, room, head = ("Q", 8, 8) if is_big else ("I", 4, 2)
    if offset >= size:
        raise struct.error("directory beyond the end")
    file.seek(offset)
    (count,) = struct.unpack(f"{order}{'Q' if is_big else 'H'}", file.read(head))
    step = 4 + 2 * room
    table = file.read(min(count, 65_535) * step + room)
    entries = {}
    for at in range(0, min(count, 65_535) * step, step):
        tag, kind, values = struct.unpack_from(f"{order}HH{number}", table, at)
        field = table[at + 4 + room : at + step]
        length = values * _type_bytes(kind)
        if len(field) < room or not length:
            continue  # an unknown type, or nothing
        if length <= room:
            entries[tag] = _Entry(kind, values, field[:length])
        elif (place := struct.unpack(f"{order}{number}", field)[0]) + length <= size:
            entries[tag] = _Entry(kind, values, place)
    (following,) = struct.unpack_from(f"{order}{number}", table, min(count, 65_535) * step)
    return entries, following


def _count_pages(file: BinaryIO, offset: int, order: str, is_big: bool, size: int) -> int:
    """Directories in the chain that begins at an offset; damage or a loop ends it."""
    seen: set[int] = set()
    while 0 < offset < size and offset not in seen and len(seen) < _MOST_PAGES:
        seen.add(offset)
        try:
            offset = _read_directory(file, offset, order, is_big, size)[1]
        except struct.error:
            break
    return len(seen)


def _type_bytes(kind: int) -> int:
    return 8 if kind in _BIG_TYPES else _TYPE_BYTES.get(kind, 0)
