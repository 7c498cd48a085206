"""Noise: Gaussian, Poisson and chroma noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.registry import DEGRADATIONS

from ._pixels import as_float, as_uint8, check, like, to_integers
from .base import Interval, ProtocolEntries, Step, drawn, interval, protocol_value
from .kernels import blurred, gaussian_kernel

__all__ = ["ChromaNoise", "GaussianNoise", "PoissonNoise", "gaussian_noise", "poisson_noise"]

_PHOTONS = 256  # counted in a white channel
_CHROMA = np.array([[0, 1.402], [-0.344136, -0.714136], [1.772, 0]])  # R, G, B of Cb and Cr (JFIF)


def gaussian_noise(image: NDArray, sigma: float, *, seed: int | np.random.Generator) -> NDArray:
    """Adds white Gaussian noise, independent for each value; the same seed gives the same noise.

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
    """Adds photon noise (shot noise); a white px counts 256 photons.

    Args:
        values: float in [0, 1], any shape.
        scale: factor on the noise.
        rng: random number generator.

    Returns:
        Same shape, neither clamped nor rounded.
    """
    expected = np.clip(values, 0, 1) * _PHOTONS
    return values + (rng.poisson(expected) - expected) * (scale / _PHOTONS)


@DEGRADATIONS.register
class GaussianNoise(Step):
    """White Gaussian noise, independent for every color.

    Args:
        sigma: standard deviation in gray levels of 8 bit, or [lowest, highest]: each patch draws its own.
        clip: True clamps and rounds to 8 bit, as in image files; False leaves the sum unchanged, as many
            papers on denoising do.

    Raises:
        OptionsError: If sigma is not within 0 to 255.
    """

    def __init__(self, *, sigma: Interval = 25.0, clip: bool = True) -> None:
        self.sigma = interval(sigma, 0, 255, "sigma", "gray levels")
        self.clip = clip

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        sigma = drawn(self.sigma, rng)
        if self.clip and pixels.dtype.kind == "u":
            return gaussian_noise(pixels, sigma, seed=rng)
        noisy = as_float(pixels) + rng.standard_normal(pixels.shape) * (sigma / 255)
        return as_uint8(noisy) if self.clip else noisy.astype(np.float32)

    def protocol(self) -> ProtocolEntries:
        return {"noise": f"Gaussian, {_rounding(self.clip)}", "sigma": protocol_value(self.sigma)}


@DEGRADATIONS.register
class PoissonNoise(Step):
    """Photon noise (Poisson), with 256 photons in a white px: it grows with the root of the brightness.

    Args:
        strength: factor on the noise, or [lowest, highest]: each patch draws its own.
        clip: True clamps and rounds to 8 bit; False leaves the sum unchanged.

    Raises:
        OptionsError: If strength is not within 0 to 16.
    """

    def __init__(self, *, strength: Interval = 1.0, clip: bool = True) -> None:
        self.strength = interval(strength, 0, 16, "strength of Poisson noise")
        self.clip = clip

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        strength = drawn(self.strength, rng)
        noisy = poisson_noise(as_float(pixels), strength, rng)
        return like(noisy, pixels) if self.clip else noisy.astype(np.float32)

    def protocol(self) -> ProtocolEntries:
        return {
            "noise": f"Poisson, {_PHOTONS} photons where white, {_rounding(self.clip)}",
            "strength": protocol_value(self.strength),
        }


@DEGRADATIONS.register
class ChromaNoise(Step):
    """Gaussian noise of the chroma only, in spots of several px, as in the shadows of camera images.

    Gray images are unchanged.

    Args:
        sigma: standard deviation of Cb and of Cr in gray levels of 8 bit, or [lowest, highest]: each patch
            draws its own.
        grain: standard deviation in px of the Gaussian that smooths the noise, or [lowest, highest]; 0 gives
            white noise. Sigma is the value after smoothing.

    Raises:
        OptionsError: If sigma is not within 0 to 255, or grain not within 0 to 8.
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

    def protocol(self) -> ProtocolEntries:
        return {
            "chroma_noise_sigma": protocol_value(self.sigma),
            "chroma_noise_grain": protocol_value(self.grain),
        }


def _rounding(clip: bool) -> str:
    return "clamped and rounded to 8 bit" if clip else "neither clamped nor rounded"
