"""What a zero-shot enlargement may be told, checked, and the steps that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.priors.resampling import Scaling

from .blur_kernels import checked_kernel, read_kernel, rescaled

__all__ = ["checked_noise", "checked_scale", "checked_source", "schedule_of"]

LARGEST_SCALE = 8


def schedule_of(wanted: Scaling, *, gradual: bool) -> list[Scaling]:
    """The enlargements to learn, one after the other; the last one is the one wanted.

    Gradually, there is a scale halfway in each direction, and each pair of scales is one step.
    """
    if not gradual:
        return [wanted]
    across = (1.0, (1 + wanted.across) / 2, wanted.across)
    down = (1.0, (1 + wanted.down) / 2, wanted.down)
    found: list[Scaling] = []
    for x, y in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)):
        if across[x] * down[y] == 1 or any((s.across, s.down) == (across[x], down[y]) for s in found):
            continue  # where one axis keeps its size, some steps are none, and some come twice
        kernel = wanted.kernel
        if kernel is not None:
            kernel = rescaled(kernel, down[y] / wanted.down, across[x] / wanted.across)
        found.append(Scaling(across[x], down[y], kernel, wanted.shift))
    return found


def checked_scale(scale: float | tuple[float, float]) -> tuple[float, float]:
    """Scales across and down. Raises OptionsError where they are out of range, or both 1."""
    across, down = scale if isinstance(scale, tuple) else (scale, scale)
    if not (1 <= across <= LARGEST_SCALE and 1 <= down <= LARGEST_SCALE) or across * down == 1:
        raise OptionsError(
            f"scale {scale} is not possible; use 1 to {LARGEST_SCALE}, or two such numbers (across, down)"
        )
    return float(across), float(down)


def checked_noise(noise: float) -> float:
    """Grey levels of 8 bit. Raises OptionsError where they are out of range."""
    if not 0 <= noise <= 100:
        raise OptionsError(f"noise {noise:g} is out of range; use 0 to 100 grey levels")
    return noise


def checked_source(kernel: str | Path | NDArray, across: float, down: float) -> NDArray | str | None:
    """The kernel's weights, None for bicubic, or "estimate"."""
    if isinstance(kernel, np.ndarray):
        return checked_kernel(kernel)
    if kernel == "bicubic":
        return None
    if kernel != "estimate":
        return read_kernel(kernel)
    if across != down or not float(across).is_integer():
        raise OptionsError(
            f"a kernel can be estimated for a whole scale alone, not for {across:g}x{down:g}; name a file"
        )
    return "estimate"
