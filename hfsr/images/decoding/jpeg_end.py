"""JPEGs whose end is missing, but none of whose pixels are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["open_without_end"]

_END = b"\xff\xd9"
_PADDINGS = (b"", b"\x00" * 256, b"\xa5\x5a" * 128)
"""What may follow complete pixels without changing them."""


def open_without_end(path: Path) -> Image.Image | None:
    """Opens and loads a JPEG that lacks its end marker.

    The decoder fills missing pixels from whatever bytes follow, without an error. So the file is decoded with
    several endings: only if they all give the same pixels, none of these are missing.

    Returns:
        None: pixels are missing, or something else is wrong.
    """
    data = path.read_bytes()
    data = data.removesuffix(b"\xff")
    images = []
    for padding in _PADDINGS:
        image = Image.open(io.BytesIO(data + padding + _END), formats=("JPEG",))
        try:
            image.load()
        except OSError:
            return None
        images.append(image)
    first = np.asarray(images[0])
    same = all(np.array_equal(first, np.asarray(image)) for image in images[1:])
    return images[0] if same else None
