"""JPEG artifacts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError, OptionsError
from hfsr.registry import DEGRADATIONS

from ._pixels import as_uint8
from .base import Interval, ProtocolEntries, Step, drawn, interval, protocol_value

__all__ = ["Jpeg", "Subsampling", "jpeg"]

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""Chroma subsampling: none, halved in width, halved in both directions."""
_SUBSAMPLINGS: tuple[str, ...] = get_args(Subsampling)  # in the order of Pillow's numbers
_MCU = 16  # px: side of the blocks that are encoded together at 4:2:0


def jpeg(image: NDArray, quality: int, subsampling: Subsampling = "4:2:0") -> NDArray:
    """Encodes the image as a JPEG file in memory and decodes it (Pillow, libjpeg).

    Args:
        image: uint8, shape (H, W) or RGB (H, W, 3).
        quality: 1 (worst) to 100.
        subsampling: chroma subsampling; without effect on gray images.

    Raises:
        ImageError: If the image is not 8-bit gray or RGB, or the quality is out of range.
    """
    if image.dtype != np.uint8 or image.shape[2:] not in {(), (3,)}:
        raise ImageError(
            f"JPEG holds 8-bit gray or RGB, not {image.dtype} of shape {image.shape}; convert it first"
        )
    if not 1 <= quality <= 100:
        raise ImageError(f"JPEG quality {quality} is out of range; choose 1 to 100")
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=_SUBSAMPLINGS.index(subsampling))
    with Image.open(buffer) as decoded:
        return np.array(decoded)


@DEGRADATIONS.register
class Jpeg(Step):
    """JPEG compression.

    Args:
        quality: 1 (worst) to 100, or [lowest, highest]: each patch draws its own.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", or a list from which each patch draws one. An entry that is
            listed twice is drawn twice as often.
        shift: True moves the 8x8 grid of the blocks by a random offset, as in an image that was cropped
            after compression. False starts the grid at the upper left corner.

    Raises:
        OptionsError: If the quality or subsampling does not exist.
    """

    def __init__(
        self,
        *,
        quality: Interval = 40,
        subsampling: Subsampling | list[Subsampling] = "4:2:0",
        shift: bool = False,
    ) -> None:
        self.quality = interval(quality, 1, 100, "JPEG quality")
        self.subsampling = _listed(subsampling)
        self.shift = shift
        self.reach = _MCU if shift else 0
        self.beforehand = self.quality[0] == self.quality[1] and len(self.subsampling) == 1 and not shift

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        quality = round(drawn(self.quality, rng))
        which = int(rng.integers(len(self.subsampling))) if len(self.subsampling) > 1 else 0
        if not self.shift:
            return jpeg(as_uint8(pixels), quality, self.subsampling[which])
        top, left = (int(offset) for offset in rng.integers(_MCU, size=2))
        padding = [(top, 0), (left, 0)] + [(0, 0)] * (pixels.ndim - 2)
        padded = np.pad(as_uint8(pixels), padding, mode="symmetric")
        return np.ascontiguousarray(jpeg(padded, quality, self.subsampling[which])[top:, left:])

    def protocol(self) -> ProtocolEntries:
        kinds = " or ".join(dict.fromkeys(self.subsampling))
        grid = ", shifted grid" if self.shift else ""
        return {"jpeg": f"libjpeg, {kinds}{grid}", "quality": protocol_value(self.quality)}


def _listed(subsampling: Subsampling | Sequence[Subsampling]) -> list[Subsampling]:
    listed: list[Subsampling] = [subsampling] if isinstance(subsampling, str) else list(subsampling)
    if not listed or any(entry not in _SUBSAMPLINGS for entry in listed):
        raise OptionsError(
            f"JPEG subsampling {subsampling} does not exist; choose from {', '.join(_SUBSAMPLINGS)}"
        )
    return listed
