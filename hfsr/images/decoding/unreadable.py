"""Explanation of a file that no decoder opens, by its first bytes."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Sequence
from typing import BinaryIO

__all__ = ["explain_unreadable"]

_READABLE = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
}
_OTHER = {
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    b"II\xbc\x01": "JPEG XR",
    b"8BPS": "a Photoshop file",
    b"gimp xcf": "a GIMP file",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"\0\0\1\0": "an icon",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
}
_HEIF_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
_LOSSLESS, _HIERARCHICAL = {3, 11}, {5, 6, 7, 13, 14, 15}
"""Numbers of JPEG's frame headers (SOF)."""
_NO_FRAME = {4, 8, 12}
_CUT = "is damaged or cut short"
_SEARCHED = 1 << 20  # bytes of a JPEG, in which its frame header is searched


def explain_unreadable(file: BinaryIO, readable: Sequence[str]) -> str:
    """Explains, as the end of a sentence about the file, why it cannot be opened.

    Args:
        file: file open for reading.
        readable: names of the formats that are read.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(_SEARCHED)
    other = next((name for mark, name in _OTHER.items() if start.startswith(mark)), None)
    if other is not None:
        return f"is not an image that hfsr reads: it is {other}; readable are {', '.join(readable)}"
    if start.startswith(b"\xff\xd8\xff") and (kind := _unsupported_jpeg(start)) is not None:
        return f"cannot be read: it is {kind}; convert it to a PNG or TIFF"
    name = next((name for mark, name in _READABLE.items() if start.startswith(mark)), None)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        stated = 8 + struct.unpack_from("<I", start, 4)[0]
        if size < stated:
            return f"{_CUT} (a WebP of {stated:,} bytes, of which {size:,} are there); get the file again"
        name = "WebP"
    elif start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        name = _HEIF_BRANDS[start[8:12]]
    if name is not None:
        return f"{_CUT} (it begins as a {name}); get the file again"
    why = "it holds text" if _is_text(start[:512]) else "its format is unknown, or its start is damaged"
    return f"is not an image: {why}; readable are {', '.join(readable)}"


def _unsupported_jpeg(data: bytes) -> str | None:
    """Describes a JPEG of a kind that libjpeg does not decode; None for others."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker - 0xC0 not in _NO_FRAME:
            kind, depth = marker - 0xC0, data[at + 4]
            if kind in _HIERARCHICAL:
                return "a hierarchical JPEG, which is not supported"
            process = "lossless JPEG" if kind in _LOSSLESS else "JPEG"
            return f"a {process} of {depth} bit, and only 8 bit are supported" if depth != 8 else None
        if marker == 0xF7:
            return "a JPEG-LS, which is not supported"
        at += 2 + struct.unpack_from(">H", data, at + 2)[0] if marker != 0xFF else 1
    return None


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)
