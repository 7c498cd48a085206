"""Noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.registry import DEGRADATIONS

from ._pixels import as_float, as_uint8, check, like, to_integers
from .base import Interval, Step, Words, drawn, interval, told
from .kernels import blurred, gaussian_kernel

__all__ = ["ChromaNoise", "GaussianNoise", "PoissonNoise", "gaussian_noise", "poisson_noise"]

_PHOTONS = 256  # counted where a channel is white
_CHROMA = np.array([[0, 1.402], [-0.344136, -0.714136], [1.772, 0]])  # R, G, B of Cb and Cr (JFIF)


def gaussian_noise(image: NDArray, sigma: float, *, seed: int | np.random.Generator) -> NDArray:
    """Adds white Gaussian noise, each value its own, the same for the same seed.

    Args:
        image: uint8 or uint16, (H, W) or (H, W, C).
        sigma: standard deviation in gray levels of 8 bit, whatever the dtype.
        seed: any non-negative integer (see `seed_of`), or a generator, which is advanced.

    Returns:
        Same shape and dtype; the sum is rounded and clamped.
    """
    check(image, 1)
    peak = np.iinfo(image.dtype).max
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    noise *= sigma * peak / 255
    noise += image
    return to_integers(noise, image.dtype)


def poisson_noise(values: NDArray, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Adds the noise of counting photons, of which a white px has 256.

    Args:
        values: float in [0, 1], any shape.
        scale: factor on the noise.
        rng: drawn from.

    Returns:
        Same shape, neither clamped nor rounded.
    """
    expected = np.clip(values, 0, 1) * _PHOTONS
    return values + (rng.poisson(expected) - expected) * (scale / _PHOTONS)


@DEGRADATIONS.register
class GaussianNoise(Step):
    """White Gaussian noise of every color.

    Args:
        sigma: standard deviation in gray levels of 8 bit, or [lowest, highest]: each patch draws its own.
        clip: clamp and round to 8 bit, as images in files are; false leaves the sum as it is, as many
            papers on denoising do.

    Raises:
        OptionsError: sigma is not within 0 to 255.
    """

    def __init__(self, *, sigma: Interval = 25.0, clip: bool = True) -> None:
        self.sigma = interval(sigma, 0, 255, "sigma", "grey levels")
        self.clip = clip

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        sigma = drawn(self.sigma, rng)
        if self.clip and pixels.dtype.kind == "u":
            return gaussian_noise(pixels, sigma, seed=rng)
        noisy = as_float(pixels) + rng.standard_normal(pixels.shape) * (sigma / 255)
        return as_uint8(noisy) if self.clip else noisy.astype(np.float32)

    def protocol(self) -> Words:
        return {"noise": f"Gaussian, {_rounding(self.clip)}", "sigma": told(self.sigma)}


@DEGRADATIONS.register
class PoissonNoise(Step):
    """Noise of counting photons, of which a white px has 256: it grows with the root of the brightness.

    Args:
        strength: factor on that noise, or [lowest, highest]: each patch draws its own.
        clip: clamp and round to 8 bit; false leaves the sum as it is.

    Raises:
        OptionsError: strength is not within 0 to 16.
    """

    def __init__(self, *, strength: Interval = 1.0, clip: bool = True) -> None:
        self.strength = interval(strength, 0, 16, "strength of Poisson noise")
        self.clip = clip

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        strength = drawn(self.strength, rng)
        noisy = poisson_noise(as_float(pixels), strength, rng)
        return like(noisy, pixels) if self.clip else noisy.astype(np.float32)

    def protocol(self) -> Words:
        return {
            "noise": f"Poisson, {_PHOTONS} photons where white, {_rounding(self.clip)}",
            "strength": told(self.strength),
        }


@DEGRADATIONS.register
class ChromaNoise(Step):
    """Gaussian noise of the chroma alone, in spots of several px, as cameras leave it in the shadows.

    Gray images stay as they are.

    Args:
        sigma: standard deviation of Cb and of Cr in gray levels of 8 bit, or [lowest, highest]: each patch
            draws its own.
        grain: standard deviation in px of the Gaussian by which the noise is smoothed, or [lowest, highest];
            0 leaves it white. Sigma holds after the smoothing.

    Raises:
        OptionsError: sigma is not within 0 to 255, or grain not within 0 to 8.
    """

    def __init__(self, *, sigma: Interval = 10.0, grain: Interval = 1.0) -> None:
        self.sigma = interval(sigma, 0, 255, "sigma of chroma noise", "gray levels")
        self.grain = interval(grain, 0, 8, "grain", "px")

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        sigma, grain = drawn(self.sigma, rng), drawn(self.grain, rng)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            return pixels
        radius = math.ceil(3 * grain)
        noise = rng.standard_normal((pixels.shape[0] + 2 * radius, pixels.shape[1] + 2 * radius, 2))
        if radius:
            line = gaussian_kernel(2 * radius + 1, grain)[radius]
            line /= math.sqrt((line**2).sum())
            noise = blurred(blurred(noise, line[None]), line[:, None])
            noise = noise[radius:-radius, radius:-radius]
        return like(as_float(pixels) + noise @ _CHROMA.T * (sigma / 255), pixels)

    def protocol(self) -> Words:
        return {"chroma_noise_sigma": told(self.sigma), "chroma_noise_grain": told(self.grain)}


def _rounding(clip: bool) -> str:
    return "clamped and rounded to 8 bit" if clip else "neither clamped nor rounded"
