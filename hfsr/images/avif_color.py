"""Color signaling of an AVIF (its `nclx` box), which Pillow does not report."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["read_nclx"]

_LIMIT = 1 << 20  # bytes; the boxes of a still image take a few hundred


def read_nclx(file: BinaryIO) -> bytes | None:
    """Reads how the colors of the first image are meant.

    Args:
        file: open for reading.

    Returns:
        Data of a cICP chunk of PNG that says the same: primaries, transfer, RGB, full range. None: the file
        is no AVIF, or does not say.
    """
    file.seek(0)
    data = file.read(_LIMIT)
    file.seek(0)
    if data[4:8] != b"ftyp":
        return None
    properties = data
    for name, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next((body for kind, body in _boxes(properties) if kind == name), None)
        if found is None:
            return None
        properties = found[skipped:]
    for kind, body in _boxes(properties):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            if primaries < 256 and transfer < 256:
                return bytes([primaries, transfer, 0, 1])
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Boxes of an ISO base media file: type and content; damage ends them."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size
