"""Depth and color signaling of an AVIF, which Pillow does not report."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["AvifProperties", "boxes", "read_avif_properties"]

_LIMIT = 1 << 20  # bytes; the boxes of a still image take a few hundred


@dataclass(frozen=True)
class AvifProperties:
    """Properties of the first image.

    Attributes:
        depth: bits per sample.
        color: color signaling as the data of a cICP chunk of PNG: primaries, transfer, RGB, full range; None
            if the file does not state it.
    """

    depth: int = 8
    color: bytes | None = None


def read_avif_properties(file: BinaryIO) -> AvifProperties | None:
    """Reads the properties of an AVIF; returns None if the file is not an AVIF, or damaged.

    Args:
        file: file open for reading.
    """
    file.seek(0)
    data = file.read(_LIMIT)
    file.seek(0)
    if data[4:8] != b"ftyp":
        return None
    properties = data
    for name, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next((body for kind, body in boxes(properties) if kind == name), None)
        if found is None:
            return None
        properties = found[skipped:]
    depth, color = 0, None
    for kind, body in boxes(properties):
        if kind == b"av1C" and len(body) >= 4 and not depth:
            is_high, is_twelve = body[2] & 0x40, body[2] & 0x20
            depth = (12 if is_twelve else 10) if is_high else 8
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10 and color is None:
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            if primaries < 256 and transfer < 256:
                color = bytes([primaries, transfer, 0, 1])
    return AvifProperties(depth or 8, color)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of the boxes of an ISO base media file; stops at damaged data."""
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
