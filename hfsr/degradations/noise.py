"""Noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hfsr.registry import DEGRADATIONS

from ._pixels import check, to_integers
from .step import Interval, Step, Words, drawn, interval, told

__all__ = ["GaussianNoise", "gaussian_noise"]


def gaussian_noise(
    image: NDArray, sigma: float, *, seed: int | np.random.Generator, clip: bool = True
) -> NDArray:
    """Adds white Gaussian noise, each value its own, the same for the same seed.

    Args:
        image: uint8 or uint16, any shape.
        sigma: standard deviation in grey levels of 8 bit, whatever the dtype.
        seed: any non-negative integer (see `seed_of`), or a generator, which is advanced.
        clip: clamp and round the sum to the dtype, as a file would hold it; else it is left as it is.

    Returns:
        Same shape; same dtype, or with `clip` false float32 on the scale where 1 is the dtype's peak.
    """
    check(image, 1)
    peak = np.iinfo(image.dtype).max
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    noise *= sigma * peak / 255
    noise += image
    return to_integers(noise, image.dtype) if clip else (noise / peak).astype(np.float32)


@DEGRADATIONS.register
class GaussianNoise(Step):
    """White Gaussian noise of every colour.

    Args:
        sigma: standard deviation in grey levels of 8 bit, or [lowest, highest]: each patch draws its own.
        clip: clamp and round to 8 bit, as pictures in files are; false leaves the sum as it is, as many
            papers on denoising do.

    Raises:
        OptionsError: sigma is not within 0 to 255.
    """

    def __init__(self, *, sigma: Interval = 25.0, clip: bool = True) -> None:
        self.sigma = interval(sigma, 0, 255, "sigma", "grey levels")
        self.clip = clip

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        return gaussian_noise(pixels, drawn(self.sigma, rng), seed=rng, clip=self.clip)

    def protocol(self) -> Words:
        rounding = "clamped and rounded to 8 bit" if self.clip else "neither clamped nor rounded"
        return {"noise": f"Gaussian, {rounding}", "sigma": told(self.sigma)}
