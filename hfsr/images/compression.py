"""Compression of an image file: lossless or lossy, and the JPEG quality derived from its tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from hfsr.images.decoding.encoded_image import EncodedImage, ImageFile
from hfsr.images.decoding.opened_image import limit_lifted, opened

__all__ = ["Compression", "read_compression"]

_LOSSY = frozenset({"JPEG", "MPO", "AVIF", "HEIF"})
"""Pillow's formats whose files are lossy, or so rarely lossless that no header states it."""
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Luma quantization table of the JPEG standard, annex K; libjpeg scales it by the quality."""


@dataclass(frozen=True)
class Compression:
    """Compression according to the header of an image file."""

    format: str
    """Pillow's name: "JPEG", "PNG"."""
    is_lossy: bool
    quality: int | None = None
    """For a JPEG: the quality from 1 to 100 at which libjpeg's luma table is nearest to the file's."""


def read_compression(file: ImageFile) -> Compression:
    """Reads the compression of an image from the start of its file.

    Raises:
        ImageError: the file is missing, a folder, empty, or not an image.
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
    """Returns the sum of libjpeg's luma table, which decreases with the quality in any order of entries."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(255, max(1, (entry * percent + 50) // 100)) for entry in _LUMA)


def _is_lossy_webp(file: BinaryIO) -> bool:
    """Reads chunks up to the one that holds the image; an animation counts as lossy."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"VP8L", b"VP8 ", b"ANMF"):
            return name != b"VP8L"
        file.seek(size + size % 2, os.SEEK_CUR)
    return True
