"""Bayer mosaics: the raw image of a sensor with color filters."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError, OptionsError
from hfsr.registry import DEGRADATIONS

from .base import ProtocolEntries, Step

__all__ = ["Mosaic"]

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


@DEGRADATIONS.register
class Mosaic(Step):
    """Bayer mosaic: every px keeps one of its colors, the other two are set to 0.

    Args:
        pattern: colors of the first two px of the first row, then of the second row.

    Raises:
        OptionsError: If the pattern is unknown.
    """

    period = 2

    def __init__(self, *, pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB") -> None:
        if pattern not in PATTERNS:
            raise OptionsError(f"no Bayer pattern '{pattern}'; allowed: {', '.join(PATTERNS)}")
        self.pattern = pattern

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ImageError(f"a mosaic needs an RGB image; this one has shape {pixels.shape}")
        result = np.zeros_like(pixels)
        for place, color in enumerate(self.pattern):
            spot = (slice(place // 2, None, 2), slice(place % 2, None, 2), "RGB".index(color))
            result[spot] = pixels[spot]
        return result

    def protocol(self) -> ProtocolEntries:
        return {"mosaic": f"Bayer {self.pattern}, missing colours 0"}
