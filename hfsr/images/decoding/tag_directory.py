"""Tag directories of TIFF, BigTIFF and EXIF, read and written as bytes, without conversion."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from hfsr.errors import ImageError

__all__ = ["DirectoryWriter", "Entry", "data_of", "narrowed", "read_directory", "reordered"]

_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBER_BYTES = {5: 4, 10: 4}  # rationals are pairs
_NARROW_TYPES = {
    16: (4, "Q", "I"),
    17: (9, "q", "i"),
    18: (4, "Q", "I"),
}  # 64-bit types and their 32-bit form
_MOST_ENTRIES = 65_535


@dataclass(frozen=True)
class Entry:
    """Tag of a directory.

    Attributes:
        kind: TIFF's number of the type.
        count: number of values.
        data: the values as bytes, or their offset in the file.
    """

    kind: int
    count: int
    data: bytes | int


def read_directory(
    file: BinaryIO, offset: int, order: str, *, is_big: bool, size: int
) -> tuple[dict[int, Entry], int, list[int]]:
    """Reads the entries of a directory.

    Args:
        file: file open for reading.
        offset: offset of the directory.
        order: byte order, "<" or ">".
        is_big: True if offsets have 64 bit.
        size: size of the file in bytes.

    Returns:
        The entries, the offset of the next directory (0: none), and the tags that were left out because
        their type is unknown or their values exceed the file.

    Raises:
        struct.error: the directory is truncated.
    """
    number, room, head = ("Q", 8, 8) if is_big else ("I", 4, 2)
    if offset >= size:
        raise struct.error("directory beyond the end")
    file.seek(offset)
    (count,) = struct.unpack(f"{order}{'Q' if is_big else 'H'}", file.read(head))
    count, step = min(count, _MOST_ENTRIES), 4 + 2 * room
    table = file.read(count * step + room)
    entries: dict[int, Entry] = {}
    damaged: list[int] = []
    for at in range(0, count * step, step):
        tag, kind, values = struct.unpack_from(f"{order}HH{number}", table, at)
        (place,) = struct.unpack_from(f"{order}{number}", table, at + 4 + room)
        length = values * _TYPE_BYTES.get(kind, 0)
        if not length:
            damaged += [tag] if values else []
        elif length <= room:
            entries[tag] = Entry(kind, values, table[at + 4 + room :][:length])
        elif place + length <= size:
            entries[tag] = Entry(kind, values, place)
        else:
            damaged.append(tag)
    rest = table[count * step :]
    return entries, struct.unpack(f"{order}{number}", rest)[0] if len(rest) == room else 0, damaged


def data_of(file: BinaryIO, entry: Entry) -> bytes:
    """Returns the values of an entry as bytes.

    Raises:
        ImageError: the file ends before the values do.
    """
    if isinstance(entry.data, bytes):
        return entry.data
    size = entry.count * _TYPE_BYTES[entry.kind]
    file.seek(entry.data)
    data = file.read(size)
    if len(data) < size:
        raise ImageError("its tags are truncated")
    return data


def narrowed(entry: Entry, order: str) -> Entry:
    """Converts the 64-bit integers of a loaded entry to 32 bit.

    Raises:
        struct.error: a number exceeds 32 bit.
    """
    if entry.kind not in _NARROW_TYPES or not isinstance(entry.data, bytes):
        return entry
    kind, wide, narrow = _NARROW_TYPES[entry.kind]
    numbers = struct.unpack(f"{order}{entry.count}{wide}", entry.data)
    return Entry(kind, entry.count, struct.pack(f"{order}{entry.count}{narrow}", *numbers))


def reordered(entry: Entry) -> Entry:
    """Converts a loaded entry to the other byte order."""
    size = _NUMBER_BYTES.get(entry.kind, _TYPE_BYTES[entry.kind])
    if size == 1 or not isinstance(entry.data, bytes):
        return entry
    return Entry(entry.kind, entry.count, np.frombuffer(entry.data, f"u{size}").byteswap().tobytes())


class DirectoryWriter:
    """Writer that packs classic directories and their values one after another.

    Args:
        order: byte order, "<" or ">".
        start: offset of the packed bytes in the file, an even number.
    """

    def __init__(self, order: str, start: int) -> None:
        self._order = order
        self._parts: list[bytes] = []
        self._end = start

    @property
    def packed(self) -> bytes:
        """Returns all added bytes, from `start` on."""
        return b"".join(self._parts)

    def add(self, data: bytes) -> int:
        """Appends bytes and returns their offset."""
        offset = self._end
        self._parts.append(data + bytes(len(data) % 2))
        self._end += len(self._parts[-1])
        return offset

    def add_directory(self, entries: Mapping[int, Entry]) -> int:
        """Appends a directory of loaded entries after its values and returns its offset."""
        fields = []
        for tag, entry in sorted(entries.items()):
            data = entry.data
            assert isinstance(data, bytes)
            field = data.ljust(4, b"\0")
            if len(data) > 4:
                field = struct.pack(f"{self._order}I", self.add(data))
            fields.append(struct.pack(f"{self._order}HHI", tag, entry.kind, entry.count) + field)
        count = struct.pack(f"{self._order}H", len(fields))
        return self.add(count + b"".join(fields) + bytes(4))
