"""JPEG artefacts."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError
from hfsr.registry import DEGRADATIONS

from ._pixels import as_uint8
from .step import Interval, Step, Words, drawn, interval, told

__all__ = ["Jpeg", "jpeg"]


def jpeg(image: NDArray, quality: int) -> NDArray:
    """Sends the picture through a JPEG file in memory (libjpeg, 4:2:0 chroma).

    Args:
        image: uint8, shape (H, W) or RGB (H, W, 3).
        quality: 1 (worst) to 100.

    Raises:
        ImageError: not an 8-bit gray or RGB picture, or no such quality.
    """
    if image.dtype != np.uint8 or image.shape[2:] not in {(), (3,)}:
        raise ImageError(
            f"JPEG holds 8-bit gray or RGB, not {image.dtype} of shape {image.shape}; convert it first"
        )
    if not 1 <= quality <= 100:
        raise ImageError(f"JPEG quality {quality} is out of range; choose 1 to 100")
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as decoded:
        return np.array(decoded)


@DEGRADATIONS.register
class Jpeg(Step):
    """JPEG, 4:2:0 chroma.

    Args:
        quality: 1 (worst) to 100, or [lowest, highest]: each patch draws its own.

    Raises:
        OptionsError: no such quality.
    """

    def __init__(self, *, quality: Interval = 40) -> None:
        self.quality = interval(quality, 1, 100, "JPEG quality")
        self.beforehand = self.quality[0] == self.quality[1]

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return jpeg(as_uint8(pixels), round(drawn(self.quality, rng)))

    def protocol(self) -> Words:
        return {"jpeg": "libjpeg, 4:2:0", "quality": told(self.quality)}
