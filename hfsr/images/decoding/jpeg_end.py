"""Decoding of truncated JPEGs: all pixels, or the rows that are complete."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hfsr.images.decoding.encoded_image import EncodedImage

__all__ = ["CutJpeg", "open_without_end"]

_END = b"\xff\xd9"
_PADDINGS = (b"", b"\x00" * 256, b"\xa5\x5a" * 128)
"""Bytes that can follow complete pixels without changing them."""


@dataclass(frozen=True)
class CutJpeg:
    """Truncated JPEG.

    Attributes:
        image: loaded; gray below the rows that the file still holds.
        rows: complete rows from the top; 0 for a progressive file, unless all are complete.
    """

    image: Image.Image
    rows: int


def open_without_end(encoded: EncodedImage) -> CutJpeg | None:
    """Opens and loads a JPEG that lacks its end marker.

    The decoder fills missing pixels from any bytes that follow, without an error. So the file is decoded with
    several endings: rows that do not depend on the ending are complete.

    Returns:
        None if the file has another defect.
    """
    data = encoded.read_bytes().removesuffix(b"\xff")
    images = []
    for padding in _PADDINGS:
        image = Image.open(io.BytesIO(data + padding + _END), formats=("JPEG",))
        try:
            image.load()
        except OSError:
            return None
        images.append(image)
    first = np.asarray(images[0])
    differs = np.zeros(len(first), bool)
    for image in images[1:]:
        differs |= (first != np.asarray(image)).reshape(len(first), -1).any(axis=1)
    return CutJpeg(images[0], int(differs.argmax()) if differs.any() else len(first))
