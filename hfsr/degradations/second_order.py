"""Second-order degradation: random blur, resizing, noise and JPEG in two rounds, as images on the Internet.

Source: Real-ESRGAN, Wang et al., ICCVW 2021, https://arxiv.org/abs/2107.10833, section 3; keys and defaults
are those of BasicSR's option files. Differs from the reference: resizing averages over an area that grows
with the reduction (Pillow's), and the image is rounded to 8 bit before each JPEG and at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import OptionsError
from hfsr.registry import DEGRADATIONS

from ._pixels import as_float, as_uint8
from .base import ProtocolEntries, Step, drawn, interval, protocol_value
from .compression import jpeg
from .kernels import Shape, blurred, gaussian_kernel, sinc_kernel
from .noise import poisson_noise

__all__ = ["SecondOrder"]

Floats = NDArray[np.float64]
Ends = tuple[float, float]

_KERNELS: dict[str, tuple[Shape, bool]] = {
    "iso": ("gaussian", True),
    "aniso": ("gaussian", False),
    "generalized_iso": ("generalized", True),
    "generalized_aniso": ("generalized", False),
    "plateau_iso": ("plateau", True),
    "plateau_aniso": ("plateau", False),
}
_WAYS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_SIZES = tuple(range(7, 22, 2))  # px, sides of kernels


@DEGRADATIONS.register
class SecondOrder(Step):
    """Real-ESRGAN's chain; keys that end with 2 belong to the second round.

    Args:
        scale: reduction factor; the default in an option file is the file's scale.
        kernel_list: iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso.
        kernel_prob: probability of each kernel in `kernel_list`.
        kernel_list2, kernel_prob2, betag_range2, betap_range2: as in the first round by default.
        sinc_prob, sinc_prob2: probability of a ringing low-pass kernel.
        blur_sigma, blur_sigma2: standard deviations of the blur, px.
        betag_range, betap_range: exponents of the generalized and the plateau kernels.
        second_blur_prob: probability of a second blur.
        final_sinc_prob: probability of a low-pass filter at the end.
        resize_prob, resize_prob2: probabilities of upsampling, downsampling and neither.
        resize_range, resize_range2: lowest and highest factor.
        gaussian_noise_prob, gaussian_noise_prob2: probability of Gaussian noise; otherwise Poisson noise.
        noise_range, noise_range2: sigma in gray levels.
        poisson_scale_range, poisson_scale_range2: strength, see `PoissonNoise`.
        gray_noise_prob, gray_noise_prob2: probability of noise that is the same in all channels.
        jpeg_range, jpeg_range2: quality.

    Raises:
        OptionsError: If a value is out of range.
    """

    reach = 48

    def __init__(
        self,
        *,
        scale: int = 1,
        kernel_list: Sequence[str] = tuple(_KERNELS),
        kernel_prob: Sequence[float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        sinc_prob: float = 0.1,
        blur_sigma: Sequence[float] = (0.2, 3.0),
        betag_range: Sequence[float] = (0.5, 4.0),
        betap_range: Sequence[float] = (1.0, 2.0),
        resize_prob: Sequence[float] = (0.2, 0.7, 0.1),
        resize_range: Sequence[float] = (0.15, 1.5),
        gaussian_noise_prob: float = 0.5,
        noise_range: Sequence[float] = (1.0, 30.0),
        poisson_scale_range: Sequence[float] = (0.05, 3.0),
        gray_noise_prob: float = 0.4,
        jpeg_range: Sequence[float] = (30.0, 95.0),
        second_blur_prob: float = 0.8,
        kernel_list2: Sequence[str] | None = None,
        kernel_prob2: Sequence[float] | None = None,
        betag_range2: Sequence[float] | None = None,
        betap_range2: Sequence[float] | None = None,
        sinc_prob2: float = 0.1,
        blur_sigma2: Sequence[float] = (0.2, 1.5),
        resize_prob2: Sequence[float] = (0.3, 0.4, 0.3),
        resize_range2: Sequence[float] = (0.3, 1.2),
        gaussian_noise_prob2: float = 0.5,
        noise_range2: Sequence[float] = (1.0, 25.0),
        poisson_scale_range2: Sequence[float] = (0.05, 2.5),
        gray_noise_prob2: float = 0.4,
        jpeg_range2: Sequence[float] = (30.0, 95.0),
        final_sinc_prob: float = 0.8,
    ) -> None:
        self.scale = scale
        kernels = (
            _Kernels(kernel_list, kernel_prob, betag_range, betap_range),
            _Kernels(
                kernel_list if kernel_list2 is None else kernel_list2,
                kernel_prob if kernel_prob2 is None else kernel_prob2,
                betag_range if betag_range2 is None else betag_range2,
                betap_range if betap_range2 is None else betap_range2,
            ),
        )
        self.second_blur_prob, self.final_sinc_prob = second_blur_prob, final_sinc_prob
        self.rounds = (
            _Round(
                *(kernels[0], sinc_prob, blur_sigma, resize_prob, resize_range, gaussian_noise_prob),
                *(noise_range, poisson_scale_range, gray_noise_prob, jpeg_range),
            ),
            _Round(
                *(kernels[1], sinc_prob2, blur_sigma2, resize_prob2, resize_range2, gaussian_noise_prob2),
                *(noise_range2, poisson_scale_range2, gray_noise_prob2, jpeg_range2),
            ),
        )

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        if min(pixels.shape[:2]) < self.scale:
            raise OptionsError(
                f"an image of {pixels.shape[1]}x{pixels.shape[0]} px cannot be reduced by {self.scale}; "
                f"each side needs at least {self.scale} px"
            )
        size = pixels.shape[0] // self.scale, pixels.shape[1] // self.scale
        first, second = self.rounds
        values = blurred(as_float(pixels), self._kernel(first, rng))
        values = first.noisy(_resized(values, first.size(pixels.shape, 1, rng), rng), rng)
        values = as_float(jpeg(as_uint8(values), round(drawn(first.quality, rng))))
        if rng.random() < self.second_blur_prob:
            values = blurred(values, self._kernel(second, rng))
        values = second.noisy(_resized(values, second.size(pixels.shape, self.scale, rng), rng), rng)
        filtered = sinc_kernel(int(rng.choice(_SIZES)), rng.uniform(math.pi / 3, math.pi))
        sharp_last = rng.random() < 0.5
        if rng.random() >= self.final_sinc_prob:
            filtered = np.ones((1, 1))
        if sharp_last:
            values = as_float(jpeg(as_uint8(values), round(drawn(second.quality, rng))))
            return as_uint8(blurred(_resized(values, size, rng), filtered))
        values = blurred(_resized(values, size, rng), filtered)
        return jpeg(as_uint8(values), round(drawn(second.quality, rng)))

    def protocol(self) -> ProtocolEntries:
        first, second = self.rounds
        return {
            "degradation": "second order, as Real-ESRGAN",
            "blur_sigma": f"{protocol_value(first.sigma)}, then {protocol_value(second.sigma)}",
            "noise_sigma": f"{protocol_value(first.noise)}, then {protocol_value(second.noise)}",
            "jpeg_quality": f"{protocol_value(first.quality)}, then {protocol_value(second.quality)}",
        }

    def _kernel(self, stage: _Round, rng: np.random.Generator) -> Floats:
        size = int(rng.choice(_SIZES))
        if rng.random() < stage.sinc_prob:
            lowest = math.pi / 3 if size < 13 else math.pi / 5
            return sinc_kernel(size, rng.uniform(lowest, math.pi))
        kernels = stage.kernels
        shape, round_ = _KERNELS[kernels.names[int(rng.choice(len(kernels.names), p=kernels.shares))]]
        across = None if round_ else drawn(stage.sigma, rng)
        angle = 0.0 if round_ else rng.uniform(-math.pi, math.pi)
        low, high = kernels.betas[shape]
        # Half of the exponents are below 1, half above, as far as the range allows.
        ends = (low, min(1.0, high)) if low < 1 and rng.random() < 0.5 else (max(1.0, low), high)
        return gaussian_kernel(
            size, drawn(stage.sigma, rng), across, angle=angle, shape=shape, beta=drawn(ends, rng)
        )


class _Kernels:
    """Blur kernels of a round, with their probabilities and the ranges of their exponents."""

    def __init__(
        self, names: Sequence[str], prob: Sequence[float], betag: Sequence[float], betap: Sequence[float]
    ) -> None:
        unknown = [name for name in names if name not in _KERNELS]
        if unknown or len(names) != len(prob):
            raise OptionsError(
                f"kernel_list {list(names)} with {len(prob)} kernel_prob; "
                f"allowed are {', '.join(_KERNELS)}, with one probability each"
            )
        self.names, self.shares = names, _shares(prob, "kernel_prob")
        self.betas = {
            "gaussian": (1.0, 1.0),
            "generalized": interval(betag, 0.1, 20, "betag_range"),
            "plateau": interval(betap, 0.1, 20, "betap_range"),
        }


class _Round:
    """One of the two rounds: its ranges, and the random operations."""

    def __init__(
        self,
        kernels: _Kernels,
        sinc_prob: float,
        sigma: Sequence[float],
        resize_prob: Sequence[float],
        resize: Sequence[float],
        gaussian_prob: float,
        noise: Sequence[float],
        poisson: Sequence[float],
        gray_prob: float,
        quality: Sequence[float],
    ) -> None:
        self.kernels = kernels
        self.sinc_prob, self.gaussian_prob, self.gray_prob = sinc_prob, gaussian_prob, gray_prob
        self.sigma = interval(sigma, 0.05, 50, "blur_sigma", "px")
        self.resize_prob = _shares(resize_prob, "resize_prob", 3)
        self.resize = interval(resize, 0.05, 4, "resize_range")
        self.noise = interval(noise, 0, 255, "noise_range", "gray levels")
        self.poisson = interval(poisson, 0, 16, "poisson_scale_range")
        self.quality = interval(quality, 1, 100, "jpeg_range")

    def size(self, shape: tuple[int, ...], scale: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draws a new height and width, relative to those of the image."""
        way = int(rng.choice(3, p=self.resize_prob))
        low, high = self.resize
        factor = 1.0
        if way == 0 and high > 1:
            factor = rng.uniform(max(1.0, low), high)
        elif way == 1 and low < 1:
            factor = rng.uniform(low, min(1.0, high))
        height, width = (max(1, round(side * factor / scale)) for side in shape[:2])
        return height, width

    def noisy(self, values: Floats, rng: np.random.Generator) -> Floats:
        """Adds Gaussian or Poisson noise, independent for each channel or the same in all."""
        gray = rng.random() < self.gray_prob and values.ndim == 3
        if rng.random() < self.gaussian_prob:
            shape = (*values.shape[:2], 1) if gray else values.shape
            return values + rng.standard_normal(shape) * (drawn(self.noise, rng) / 255)
        strength = drawn(self.poisson, rng)
        if not gray:
            return poisson_noise(values, strength, rng)
        mean = values.mean(axis=2, keepdims=True)
        return values + (poisson_noise(mean, strength, rng) - mean)


def _resized(values: Floats, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Resizes with one of three filters, drawn at random."""
    way = _WAYS[int(rng.integers(len(_WAYS)))]
    if values.shape[:2] == size:
        return values
    planes = values.astype(np.float32).reshape(*values.shape[:2], -1)
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(planes[..., k])).resize(size[::-1], way))
        for k in range(planes.shape[2])
    ]
    return np.stack(resized, axis=-1).reshape(*size, *values.shape[2:]).astype(np.float64)


def _shares(values: Sequence[float], what: str, count: int | None = None) -> Floats:
    shares = np.asarray(values, np.float64)
    if count not in (None, len(shares)) or len(shares) == 0 or np.any(shares < 0) or shares.sum() <= 0:
        raise OptionsError(f"{what} {values} is not possible; give {count or 'as many'} numbers from 0 on")
    return shares / shares.sum()
