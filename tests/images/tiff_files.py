"""TIFFs of any depth, layout and byte order, written without the code under test."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 11: "f", 12: "d", 16: "Q"}
Tags = dict[int, tuple[int, Any]]


def pack(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Rows (H, N) of integers, each row padded to whole bytes; floats and signed integers as they are."""
    if rows.dtype.kind != "u" or bits in (8, 16, 32):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    spread = (rows[..., None] >> np.arange(bits - 1, -1, -1).astype(rows.dtype)) & 1
    return np.packbits(spread.reshape(len(rows), -1).astype(np.uint8), axis=-1).tobytes()


def encode(
    samples: np.ndarray,
    bits: int,
    *,
    order: str = "<",
    big: bool = False,
    photometric: int | None = None,
    planes: bool = False,
    strip_rows: int | None = None,
    tile: tuple[int, int] | None = None,
    deflate: bool = False,
    predictor: bool = False,
    extra: tuple[int, ...] = (),
    kind: int = 1,
    tags: Tags | None = None,
    directory_first: bool = False,
) -> bytes:
    """A TIFF of one image.

    Args:
        samples: (H, W, C); of `kind` 1 unsigned, 2 signed, 3 floats.
        bits: of each sample.
        strip_rows: rows per strip; None: one strip.
        tile: height and width of tiles.
        predictor: store horizontal differences.
        extra: the meaning of each extra sample.
        tags: more of them, by number: type and values (bytes or a list).
        directory_first: write the samples at the end of the file.
    """
    height, width, count = samples.shape
    pieces = []
    for group in np.split(samples, count, axis=2) if planes else [samples]:
        pieces += [
            pack(_differences(piece, predictor), bits, order) for piece in _cut(group, strip_rows, tile)
        ]
    if deflate:
        pieces = [zlib.compress(piece) for piece in pieces]
    body, offsets = b"\0" * (16 if big else 8), []
    for piece in pieces:
        offsets.append(len(body))
        body += piece + bytes(len(piece) % 2)
    default = 1 if count - len(extra) == 1 else 2
    found: Tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [8 if deflate else 1]),
        262: (3, [default if photometric is None else photometric]), 277: (3, [count]),
        284: (3, [2 if planes else 1]),
    }  # fmt: skip
    sizes = [len(piece) for piece in pieces]
    wide = 16 if big else 4
    if tile is None:
        found |= {273: (wide, offsets), 278: (4, [strip_rows or height]), 279: (wide, sizes)}
    else:
        found |= {322: (4, [tile[1]]), 323: (4, [tile[0]]), 324: (wide, offsets), 325: (wide, sizes)}
    found |= {338: (3, list(extra))} if extra else {}
    found |= {339: (3, [kind] * count)} if kind != 1 else {}
    found |= {317: (3, [2])} if predictor else {}
    found |= tags or {}
    if directory_first:
        head, place = body[: 16 if big else 8], 273 if tile is None else 324
        for _ in range(2):  # the directory keeps its length, so the second offsets are right
            start = len(finish(head, found, order, big)) - len(head)
            found[place] = (wide, [offset + start for offset in offsets])
        return finish(head, found, order, big) + body[len(head) :]
    return finish(body, found, order, big)


def finish(body: bytes, tags: Tags, order: str, big: bool) -> bytes:
    """Adds a directory to a body whose first bytes are room for the header."""
    number, room = ("Q", 8) if big else ("I", 4)
    at = len(body) + len(body) % 2
    table, tail = b"", b""
    after = at + (8 if big else 2) + len(tags) * (4 + 2 * room) + room
    for tag, (kind, values) in sorted(tags.items()):
        data = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        )
        field = data.ljust(room, b"\0")
        if len(data) > room:
            field = struct.pack(f"{order}{number}", after + len(tail))
            tail += data + bytes(len(data) % 2)
        table += struct.pack(f"{order}HH{number}", tag, kind, len(values)) + field
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at)
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    return head + body[len(head) :] + bytes(len(body) % 2) + count + table + bytes(room) + tail


def _cut(group: np.ndarray, strip_rows: int | None, tile: tuple[int, int] | None) -> list[np.ndarray]:
    height, width = group.shape[:2]
    if tile is None:
        step = strip_rows or height
        return [group[top : top + step] for top in range(0, height, step)]
    rows, columns = tile
    padded = np.pad(group, ((0, -height % rows), (0, -width % columns), (0, 0)), mode="edge")
    return [
        padded[top : top + rows, left : left + columns]
        for top in range(0, len(padded), rows)
        for left in range(0, padded.shape[1], columns)
    ]


def _differences(piece: np.ndarray, predictor: bool) -> np.ndarray:
    piece = piece.copy()
    if predictor:
        piece[:, 1:] -= piece[:, :-1].copy()
    return piece.reshape(len(piece), -1)
