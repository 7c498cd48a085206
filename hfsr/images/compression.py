"""The compression of an image file: lossless or lossy, and the JPEG quality that its tables tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from hfsr.images.decoding.encoded_image import EncodedImage, ImageFile
from hfsr.images.decoding.opened_image import limit_lifted, opened

__all__ = ["Compression", "read_compression"]

_LOSSY = frozenset({"JPEG", "MPO", "AVIF", "HEIF"})
"""Pillow's formats whose files are lossy, or so rarely lossless that no header says it."""
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Luma quantization table of the JPEG standard, annex K; libjpeg scales it by the quality."""


@dataclass(frozen=True)
class Compression:
    """What the header of an image file says of its compression."""

    format: str
    """Pillow's name: "JPEG", "PNG"."""
    is_lossy: bool
    quality: int | None = None
    """Of a JPEG: the quality from 1 to 100 at which libjpeg's luma table is nearest to the file's."""


def read_compression(file: ImageFile) -> Compression:
    """Reads the compression of an image from the start of its file.

    Raises:
        ImageError: missing, a folder, empty, or no image.
    """
    encoded = EncodedImage.of(file)
    encoded.check()
    with limit_lifted(), opened(encoded) as source:
        image = source.image
        kind = image.format or ""
        if kind in ("JPEG", "MPO"):
            return Compression(kind, True, _quality(image))
        if source.jxl is not None:
            return Compression("JPEG XL", source.jxl.is_lossy)
        if kind == "TIFF":
            return Compression(kind, "jpeg" in str(image.info.get("compression")))
    if kind == "WEBP":
        with encoded.open() as stream:
            return Compression(kind, _is_lossy_webp(stream))
    return Compression(kind, kind in _LOSSY)


def _quality(image: Image.Image) -> int | None:
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    total = sum(tables[min(tables)])
    return min(range(100, 0, -1), key=lambda quality: abs(_table_sum(quality) - total))


def _table_sum(quality: int) -> int:
    """Sum of libjpeg's luma table: it falls with the quality, whatever the order of the entries."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(255, max(1, (entry * percent + 50) // 100)) for entry in _LUMA)


def _is_lossy_webp(file: BinaryIO) -> bool:
    """Reads chunk after chunk until one holds the image; that of an animation is taken for lossy."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"VP8L", b"VP8 ", b"ANMF"):
            return name != b"VP8L"
        file.seek(size + size % 2, os.SEEK_CUR)
    return True
