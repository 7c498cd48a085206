"""Chunks of a PNG other than its pixels, read without Pillow's limits and checks, which refuse files."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from hfsr.images.decoding.raw_profile import RAW_PROFILE, RawProfiles

__all__ = ["COLOR_CHUNKS", "PngChunks", "read_png_chunks", "text_keywords"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LIMIT = 64 << 20
"""Maximum decompressed bytes of a profile or of XMP."""
_PILLOW_LIMIT = 1 << 20
"""Bytes of a compressed text or profile above which Pillow refuses the whole file."""
_PILLOW_TEXTS = 32 << 20
"""Maximum bytes of all texts, half of Pillow's limit."""
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_XMP = b"XML:com.adobe.xmp\0"
_STALE_TEXTS = (b"XML:com.adobe.xmp", RAW_PROFILE, b"Thumb::", b"exif:", b"tiff:", b"png:", b"icc:")
"""Prefixes of keywords whose texts are rewritten, or describe the source file (ImageMagick's)."""

COLOR_CHUNKS = (b"cICP", b"mDCV", b"cLLI", b"gAMA", b"cHRM")
"""Chunks that define the color space of the samples, in addition to the profile and `sRGB`."""
_LENGTHS = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
_MATTERS = {b"tRNS", b"iCCP", b"eXIf", b"iTXt", b"pHYs", b"sRGB", *COLOR_CHUNKS}
"""Chunks without which the result looks different or has other metadata."""


@dataclass
class PngChunks:
    """Chunks of a PNG that hfsr reads itself.

    Attributes:
        depth: bits per sample.
        color_type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha.
        key: the sample or samples that are transparent; None if there are none, or for a palette.
        color: chunks of `COLOR_CHUNKS`, and sRGB, by name.
        icc: the profile, decompressed.
        xmp: the XMP packet, decompressed.
        texts: text chunks that apply to any copy of the image, by name and data as in the file.
        raw: metadata in ImageMagick's texts, which count where the file has no chunk for them.
        notes: notes of the chunks that were left out.
        hidden: offsets of the chunks that Pillow must not read.
    """

    depth: int = 8
    color_type: int = 2
    key: int | tuple[int, ...] | None = None
    color: dict[bytes, bytes] = field(default_factory=dict)
    icc: bytes | None = None
    xmp: bytes | None = None
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: RawProfiles = field(default_factory=RawProfiles)
    notes: list[str] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)

    def hide(self, name: bytes, at: int) -> None:
        """Leaves a damaged chunk out, with a note if it changes the result."""
        self.hidden.add(at)
        if name in _MATTERS:
            self.notes.append(f"its damaged chunk {name.decode('latin-1')} was left out")

    def for_pillow(self, file: BinaryIO) -> BinaryIO:
        """Returns the file, or a copy without the chunks for which Pillow refuses it."""
        if not self.hidden:
            return file
        file.seek(0)
        data = file.read()
        kept, at = [_SIGNATURE], len(_SIGNATURE)
        while at + 8 <= len(data):
            end = at + 12 + struct.unpack_from(">I", data, at)[0]
            if at not in self.hidden:
                kept.append(data[at:end])
            at = end
        return io.BytesIO(b"".join(kept))


def read_png_chunks(file: BinaryIO) -> PngChunks | None:
    """Reads all chunks except the pixels; Pillow reports damage after the first chunks.

    Returns:
        None if the file is not a PNG.
    """
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return None
    chunks = PngChunks()
    texts, at = 0, len(_SIGNATURE)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            break
        if name == b"IHDR" or (name[0] & 0x20 and name != b"fdAT" and length <= _LIMIT):
            data, check = file.read(length), file.read(4)
            if len(data) < length or len(check) < 4:
                break
            if name == b"IHDR" and length == 13:
                chunks.depth, chunks.color_type = data[8], data[9]
            elif check != struct.pack(">I", zlib.crc32(name + data)):
                chunks.hide(name, at)
            elif name in _TEXTS:
                texts += _take_text(chunks, name, data, at)
                if texts > _PILLOW_TEXTS:
                    chunks.hidden.add(at)
            elif name[0] & 0x20:
                _take(chunks, name, data, at)
        else:
            if name[0] & 0x20:
                chunks.hidden.add(at)
                if name in _MATTERS:
                    chunks.notes.append(
                        f"its chunk {name.decode('latin-1')} of {length:,} bytes was left out"
                    )
            file.seek(length + 4, io.SEEK_CUR)
        at += 12 + length
    file.seek(0)
    chunks.icc = chunks.icc or chunks.raw.icc
    chunks.xmp = chunks.xmp or chunks.raw.xmp
    return chunks


def _take(chunks: PngChunks, name: bytes, data: bytes, at: int) -> None:
    """Reads one chunk of color or transparency."""
    if name == b"iCCP":
        found = _inflated(data.partition(b"\0")[2][1:])
        if found is None:
            chunks.notes.append("its color profile is damaged, or larger than 64 MiB, and was left out")
        chunks.icc = found or None
        if found is None or len(found) > _PILLOW_LIMIT // 2:
            chunks.hidden.add(at)
    elif name == b"tRNS" and chunks.color_type in (0, 2):
        count = 1 if chunks.color_type == 0 else 3
        if len(data) < 2 * count:
            chunks.hide(name, at)
            return
        # only the bits that a sample has are compared
        values = [value & ((1 << chunks.depth) - 1) for value in struct.unpack_from(f">{count}H", data)]
        chunks.key = values[0] if count == 1 else tuple(values)
    elif _LENGTHS.get(name, len(data)) != len(data):
        chunks.hide(name, at)
    elif name in _LENGTHS:
        chunks.color[name] = data


def _take_text(chunks: PngChunks, name: bytes, data: bytes, at: int) -> int:
    """Reads a text chunk to find XMP, and hides it if Pillow would refuse it; returns its size in bytes."""
    is_xmp = name == b"iTXt" and data.startswith(_XMP)
    text: bytes | None = data.partition(b"\0")[2]
    if name == b"zTXt":
        text = _inflated(data.partition(b"\0")[2][1:])
    elif name == b"iTXt":
        flags, _, rest = data.partition(b"\0")[2][:2], b"", data.partition(b"\0")[2][2:]
        body = rest.partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
        text = _inflated(body) if flags[:1] == b"\1" else body
    if is_xmp:
        chunks.xmp = text
        if text is None:
            chunks.notes.append("its XMP is damaged, or larger than 64 MiB, and was left out")
    if data.startswith(RAW_PROFILE):
        kind = data.partition(b"\0")[0].removeprefix(RAW_PROFILE).decode("latin-1")
        note = chunks.raw.add(kind, text or b"")
        chunks.notes += [note] if note else []
    if not data.startswith(_STALE_TEXTS):
        chunks.texts.append((name, data))
    if text is None or len(text) > _PILLOW_LIMIT // 2:
        chunks.hidden.add(at)
        return 0
    return len(text)


def text_keywords(texts: tuple[tuple[bytes, bytes], ...]) -> list[str]:
    """Returns the keywords of text chunks, each once."""
    found = (data.partition(b"\0")[0].decode("latin-1") for _, data in texts)
    return list(dict.fromkeys(found))


def _inflated(data: bytes) -> bytes | None:
    """Decompresses bytes; returns None if they are damaged or above the limit."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, _LIMIT)
    except zlib.error:
        return None
    return found if stream.eof else None
