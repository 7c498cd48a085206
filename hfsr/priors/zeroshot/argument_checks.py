"""Checks of the arguments of zero-shot super-resolution, and the scales of gradual upscaling."""

from __future__ import annotations

from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.priors.resampling import Resampler

from .blur_kernels import check_kernel, read_kernel, rescale_kernel

__all__ = ["check_noise", "check_scale", "gradual_resamplers", "load_kernel"]

MAX_SCALE = 8


def gradual_resamplers(final: Resampler, *, gradual: bool) -> list[Resampler]:
    """Returns the resamplers to train for, in order; the last one is `final`.

    If `gradual`, each axis has one intermediate scale halfway between 1 and the final scale, and the pairs of
    scales are visited from small to large, as in the paper (six steps).
    """
    if not gradual:
        return [final]
    scales_x = (1.0, (1 + final.scale_x) / 2, final.scale_x)
    scales_y = (1.0, (1 + final.scale_y) / 2, final.scale_y)
    found: list[Resampler] = []
    for x, y in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)):
        pair = (scales_x[x], scales_y[y])
        if pair == (1, 1) or any((r.scale_x, r.scale_y) == pair for r in found):
            continue  # if one axis keeps its size, some steps do nothing and some repeat
        kernel = final.kernel
        if kernel is not None:
            kernel = rescale_kernel(kernel, pair[1] / final.scale_y, pair[0] / final.scale_x)
        found.append(Resampler(*pair, kernel, final.shift))
    return found


def check_scale(scale: float | tuple[float, float]) -> tuple[float, float]:
    """Returns (scale_x, scale_y); raises OptionsError if one is out of range, or if both are 1."""
    pair = scale if isinstance(scale, tuple) and len(scale) == 2 else (scale, scale)
    if not all(isinstance(each, Real) and not isinstance(each, bool) for each in pair):
        raise OptionsError(f"scale {scale!r} is not allowed; use a number from 1 to {MAX_SCALE}, or two")
    scale_x, scale_y = pair
    if not (1 <= scale_x <= MAX_SCALE and 1 <= scale_y <= MAX_SCALE) or scale_x * scale_y == 1:
        raise OptionsError(
            f"scale {scale} is not possible; use a number from 1 to {MAX_SCALE}, or two such numbers "
            "(horizontal, vertical), not both 1"
        )
    return float(scale_x), float(scale_y)


def check_noise(noise: float) -> float:
    """Returns the noise level in 8-bit gray levels; raises OptionsError if it is out of range."""
    if not 0 <= noise <= 100:
        raise OptionsError(f"noise {noise:g} is out of range; use 0 to 100 gray levels")
    return noise


def load_kernel(kernel: str | Path | NDArray, scale_x: float, scale_y: float) -> NDArray | str | None:
    """Returns the weights of a kernel argument, None for bicubic, or the string "estimate"."""
    if isinstance(kernel, np.ndarray):
        return check_kernel(kernel)
    if kernel == "bicubic":
        return None
    if kernel != "estimate":
        return read_kernel(kernel)
    if scale_x != scale_y or not float(scale_x).is_integer():
        raise OptionsError(
            f"a kernel can be estimated only for a whole scale, not for {scale_x:g}x{scale_y:g}; name a file"
        )
    return "estimate"
