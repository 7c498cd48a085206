"""Images with known contents, and a PNG encoder that shares nothing with the one under test."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def encode_png(
    samples: np.ndarray, color_type: int, *, filters: int | None = None, extra: bytes = b""
) -> bytes:
    """Encodes (H, W, C) integers the slow way; every row has another filter unless one is given."""
    height, width = samples.shape[:2]
    depth = samples.dtype.itemsize * 8
    pixel = samples[0, 0].nbytes
    rows = [bytearray(row.astype(">u2" if depth == 16 else "u1").tobytes()) for row in samples]
    data, above = bytearray(), bytes(len(rows[0]))
    for y, row in enumerate(rows):
        kind = y % 5 if filters is None else filters
        data.append(kind)
        for x, value in enumerate(row):
            a, b = (row[x - pixel] if x >= pixel else 0), above[x]
            c = above[x - pixel] if x >= pixel else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            data.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        above = bytes(row)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(bytes(data)))
        + chunk(b"IEND", b"")
    )


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encode_tiff(
    samples: np.ndarray, order: str, *, extra: int | None = None, planes: bool = False, white: bool = False
) -> bytes:
    """A baseline TIFF of 16 bit, uncompressed; `order` is "<" or ">", `extra` the kind of alpha."""
    height, width = samples.shape[:2]
    count = samples.shape[2] if samples.ndim == 3 else 1
    data = (np.moveaxis(samples, -1, 0) if planes else samples).astype(order + "u2").tobytes()
    entries = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [16] * count), (259, 3, [1]),
        (262, 3, [2 if count > 2 else int(not white)]), (273, 4, [8]), (277, 3, [count]), (278, 3, [height]),
        (279, 4, [len(data)]), (284, 3, [2 if planes else 1]),
    ]  # fmt: skip
    if planes:
        size = len(data) // count
        entries[5] = (273, 4, [8 + k * size for k in range(count)])
        entries[8] = (279, 4, [size] * count)
    if extra is not None:
        entries.append((338, 3, [extra]))
    table = 8 + len(data)
    overflow = table + 2 + 12 * len(entries) + 4
    ifd, tail = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            field = struct.pack(f"{order}I", overflow + len(tail))
            tail += packed
        else:
            field = packed.ljust(4, b"\0")
        ifd += struct.pack(f"{order}HHI", tag, kind, len(values)) + field
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, table)
    return head + data + ifd + struct.pack(f"{order}I", 0) + tail
