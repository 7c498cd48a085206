"""A pack: many decoded images in one file, which is memory-mapped and read without decoding.

Layout: a header of 64 bytes (`HFSRPACK`, version, offset and length of the index, little-endian), the pixels
of every image (uint8, rows of RGB, each image at a multiple of 64 bytes), then the index as JSON:
`{"pictures": [{"name", "height", "width", "offset"}, ...], "made": {...}}`. Version 2 is written if there are
images of 16 bits: these have `"bits": 16` in the index and little-endian uint16 pixels.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError
from hfsr.images import open_new

__all__ = ["Pack", "PackWriter", "writing_pack"]

Pixels = NDArray
"""uint8 or uint16."""

_HEAD = struct.Struct("<8sIxxxxQQ")
_MAGIC, _ALIGN = b"HFSRPACK", 64
_VERSIONS = (1, 2)


class Pack:
    """An opened pack; its images are views of the file.

    Raises:
        DataError: if the file is missing, no pack, truncated, or of a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bytes = np.memmap(path, np.uint8, "r")
            magic, version, place, length = _HEAD.unpack(bytes(self._bytes[: _HEAD.size]))
            if magic != _MAGIC or version not in _VERSIONS:
                raise ValueError(f"it begins with {magic!r}, version {version}")
            index = json.loads(bytes(self._bytes[place : place + length]))
            self._entries: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in index["pictures"]}
            if any(self._end(entry) > len(self._bytes) for entry in self._entries.values()):
                raise ValueError("it is truncated")
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise DataError(f"'{path}' is no pack ({error}); create one: hfsr prepare pack") from error
        self.made: dict[str, Any] = index["made"]

    @property
    def names(self) -> list[str]:
        """Names of the images, in the order of writing."""
        return list(self._entries)

    def read(self, name: str) -> Pixels:
        """Returns an image, RGB, (H, W, 3), uint8 or uint16, read-only."""
        entry = self._entries[name]
        flat = self._bytes[entry["offset"] : self._end(entry)]
        if _bits(entry) == 16:
            flat = flat.view("<u2")
        return flat.reshape(entry["height"], entry["width"], 3)

    @staticmethod
    def _end(entry: Mapping[str, Any]) -> int:
        return int(entry["offset"]) + 3 * int(entry["height"]) * int(entry["width"]) * _bits(entry) // 8


class PackWriter:
    """Writes the images of a pack one after another; see `writing_pack`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[dict[str, Any]] = []
        self.size = _ALIGN
        file.write(bytes(_ALIGN))

    def add(self, name: str, pixels: Pixels) -> None:
        """Appends an image, RGB, (H, W, 3), uint8 or uint16."""
        height, width = pixels.shape[:2]
        entry = {"name": name, "height": height, "width": width, "offset": self.size}
        if pixels.dtype == np.uint16:
            entry["bits"] = 16
        self._entries.append(entry)
        fill = -pixels.nbytes % _ALIGN
        stored = np.ascontiguousarray(pixels, "<u2" if pixels.dtype == np.uint16 else np.uint8)
        self._file.write(stored.view(np.uint8).data)
        self._file.write(bytes(fill))
        self.size += pixels.nbytes + fill

    def finish(self, made: Mapping[str, Any]) -> None:
        """Writes the index and the header."""
        index = json.dumps({"pictures": self._entries, "made": dict(made)}).encode()
        self._file.write(index)
        self._file.seek(0)
        version = 2 if any(_bits(entry) == 16 for entry in self._entries) else 1
        self._file.write(_HEAD.pack(_MAGIC, version, self.size, len(index)))


def _bits(entry: Mapping[str, Any]) -> int:
    """Returns the bits per channel; raises ValueError if this version does not support them."""
    bits = int(entry.get("bits", 8))
    if bits not in (8, 16):
        raise ValueError(f"an image of {bits} bits")
    return bits


@contextlib.contextmanager
def writing_pack(path: Path, made: Mapping[str, Any]) -> Iterator[PackWriter]:
    """Yields a writer; the new pack replaces `path` if the block succeeds.

    Args:
        path: path of the pack.
        made: plain values that describe how the pack was made.

    Raises:
        ImageError: if the pack cannot be written.
    """
    with open_new(path) as file:
        writer = PackWriter(file)
        yield writer
        writer.finish(made)
