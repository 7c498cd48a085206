"""Steps that reduce images."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.registry import DEGRADATIONS

from ._pixels import as_uint8, check
from .base import ProtocolEntries, Step
from .resize import bicubic_down

__all__ = ["Bicubic", "Resample", "Subsample"]

Filter = Literal["area", "bilinear", "bicubic", "lanczos"]
_REACH = {"area": 0.5, "bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}  # LR px to each side of the center
_METHODS = {
    "area": "BOX",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "lanczos": "LANCZOS",
}  # Pillow's names


@DEGRADATIONS.register
class Bicubic(Step):
    """MATLAB's bicubic reduction, bit-identical to the released LR images; at scale 1, the identity.

    16-bit images keep their depth; all others become 8 bit.

    Args:
        scale: reduction factor; the default in an option file is the file's scale.
    """

    beforehand = True

    def __init__(self, *, scale: float = 1) -> None:
        self.scale = scale  # type: ignore[assignment]  # real scales are for evaluation of Meta-SR
        self.reach = math.ceil(2 * scale)

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return bicubic_down(pixels if pixels.dtype == np.uint16 else as_uint8(pixels), self.scale)

    def protocol(self) -> ProtocolEntries:
        return {"resize": "MATLAB bicubic, antialiased, 8 bit"}


@DEGRADATIONS.register
class Subsample(Step):
    """Subsampling without a filter: every `scale`-th px from the first one on; follows the blur of "BD".

    Args:
        scale: reduction factor; the default in an option file is the file's scale.
    """

    beforehand = True

    def __init__(self, *, scale: int = 1) -> None:
        self.scale = scale

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return np.ascontiguousarray(pixels[:: self.scale, :: self.scale])

    def protocol(self) -> ProtocolEntries:
        return {"resize": f"one of {self.scale} px, the first one first"}


@DEGRADATIONS.register
class Resample(Step):
    """Reduction by one of Pillow's antialiased filters, as in image editors and web servers.

    Args:
        filter: "area" (mean of the px), "bilinear", "bicubic" or "lanczos", or a list from which each patch
            draws one. An entry that is listed twice is drawn twice as often.
        scale: reduction factor; the default in an option file is the file's scale.

    Raises:
        OptionsError: If the filter does not exist.
    """

    def __init__(self, *, filter: Filter | list[Filter] = "lanczos", scale: int = 1) -> None:
        self.filters: list[Filter] = [filter] if isinstance(filter, str) else list(filter)
        if not self.filters or any(name not in _REACH for name in self.filters):
            raise OptionsError(f"no filter {filter}; choose from {', '.join(_REACH)}")
        self.scale = scale
        self.reach = math.ceil(scale * max(_REACH[name] for name in self.filters))
        self.beforehand = len(self.filters) == 1

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        which = int(rng.integers(len(self.filters))) if len(self.filters) > 1 else 0
        pixels = as_uint8(pixels)
        check(pixels, self.scale)
        from PIL import Image

        method = _METHODS[self.filters[which]]
        height, width = (side // self.scale for side in pixels.shape[:2])
        box = (0, 0, width * self.scale, height * self.scale)
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling[method], box))

    def protocol(self) -> ProtocolEntries:
        return {"resize": f"{' or '.join(dict.fromkeys(self.filters))}, antialiased, 8 bit (Pillow)"}
