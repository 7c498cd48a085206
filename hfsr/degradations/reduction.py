"""Steps that make pictures smaller."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.registry import DEGRADATIONS

from ._pixels import as_uint8
from .resize import bicubic_down
from .step import Step, Words

__all__ = ["Bicubic", "Subsample"]


@DEGRADATIONS.register
class Bicubic(Step):
    """MATLAB's bicubic reduction, bit-equal to the released LR pictures; at scale 1, nothing.

    Images of 16 bit keep them; everything else becomes 8 bit.

    Args:
        scale: in an option file the file's, where not given.
    """

    beforehand = True

    def __init__(self, *, scale: float = 1) -> None:
        self.scale = scale  # type: ignore[assignment]  # evaluation also measures Meta-SR
        self.reach = math.ceil(2 * scale)

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return bicubic_down(pixels if pixels.dtype == np.uint16 else as_uint8(pixels), self.scale)

    def protocol(self) -> Words:
        return {"resize": "MATLAB bicubic, antialiased, 8 bit"}


@DEGRADATIONS.register
class Subsample(Step):
    """Every `scale`-th px from the first one on, and nothing in between: what follows the blur of "BD".

    Args:
        scale: in an option file the file's, where not given.
    """

    beforehand = True

    def __init__(self, *, scale: int = 1) -> None:
        self.scale = scale

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return np.ascontiguousarray(pixels[:: self.scale, :: self.scale])

    def protocol(self) -> Words:
        return {"resize": f"one of {self.scale} px, the first one first"}
