"""Blur and sharpening."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.registry import DEGRADATIONS

from ._pixels import as_float, like
from .base import Interval, ProtocolEntries, Step, drawn, interval, protocol_value
from .kernels import blurred, gaussian_kernel, read_kernels

__all__ = ["GaussianBlur", "KernelBlur", "UnsharpMask"]


@DEGRADATIONS.register
class GaussianBlur(Step):
    """Gaussian blur, isotropic or anisotropic; 7 px and sigma 1.6, then every third px, is the papers' "BD".

    Args:
        kernel_size: side of the kernel in px, odd.
        sigma: standard deviation in px, or [lowest, highest]: each patch draws its own.
        sigma_y: standard deviation along the other axis, drawn independently; None means `sigma`.
        angle: rotation of the kernel in degrees, or [lowest, highest].

    Raises:
        OptionsError: If a value is out of range.
    """

    def __init__(
        self,
        *,
        kernel_size: int = 21,
        sigma: Interval = 1.6,
        sigma_y: Interval | None = None,
        angle: Interval = 0.0,
    ) -> None:
        if kernel_size % 2 == 0 or not 1 <= kernel_size <= 99:
            raise OptionsError(f"kernel_size {kernel_size} is not possible; choose an odd number up to 99")
        self.size, self.reach = kernel_size, kernel_size // 2
        self.sigma = interval(sigma, 0.05, 50, "sigma of a blur", "px")
        self.sigma_y = None if sigma_y is None else interval(sigma_y, 0.05, 50, "sigma_y of a blur", "px")
        self.angle = interval(angle, -360, 360, "angle", "degrees")
        self.beforehand = all(a == b for a, b in (self.sigma, self.sigma_y or (0, 0), self.angle))

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        sigma = drawn(self.sigma, rng)
        other = None if self.sigma_y is None else drawn(self.sigma_y, rng)
        kernel = gaussian_kernel(self.size, sigma, other, angle=math.radians(drawn(self.angle, rng)))
        return like(blurred(as_float(pixels), kernel), pixels)

    def protocol(self) -> ProtocolEntries:
        protocol: ProtocolEntries = {
            "blur": f"Gaussian, {self.size}x{self.size} px",
            "blur_sigma": protocol_value(self.sigma),
        }
        if self.sigma_y is not None:
            protocol |= {
                "blur_sigma_y": protocol_value(self.sigma_y),
                "blur_angle": protocol_value(self.angle),
            }
        return protocol


@DEGRADATIONS.register
class KernelBlur(Step):
    """Blur with kernels from a file; each patch draws one of them.

    Args:
        file: `.npy` or `.mat` with one kernel (h, w) or several (N, h, w), or `.txt` or `.csv` with one.

    Raises:
        DataError: If the file cannot be read.
    """

    def __init__(self, *, file: str) -> None:
        self.path = Path(file).expanduser()
        self.reach = max(self._kernels.shape[1:]) // 2
        self.beforehand = len(self._kernels) == 1

    @functools.cached_property
    def _kernels(self) -> NDArray[np.float64]:
        return read_kernels(self.path)

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        which = int(rng.integers(len(self._kernels))) if len(self._kernels) > 1 else 0
        return like(blurred(as_float(pixels), self._kernels[which]), pixels)

    def protocol(self) -> ProtocolEntries:
        count, height, width = self._kernels.shape
        return {"blur": f"{count} kernel(s) of {width}x{height} px from {self.path.name}"}


@DEGRADATIONS.register
class UnsharpMask(Step):
    """Unsharp masking: adds the difference to a blurred copy, which leaves halos along edges.

    Args:
        sigma: standard deviation of the Gaussian blur in px, or [lowest, highest]: each patch draws its own.
        amount: factor on the difference, or [lowest, highest]; 0 changes nothing.

    Raises:
        OptionsError: If sigma is not within 0.05 to 5, or amount not within 0 to 5.
    """

    def __init__(self, *, sigma: Interval = 1.0, amount: Interval = 0.5) -> None:
        self.sigma = interval(sigma, 0.05, 5, "sigma of an unsharp mask", "px")
        self.amount = interval(amount, 0, 5, "amount of an unsharp mask")
        self.reach = math.ceil(3 * self.sigma[1])
        self.beforehand = all(low == high for low, high in (self.sigma, self.amount))

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        sigma, amount = drawn(self.sigma, rng), drawn(self.amount, rng)
        radius = math.ceil(3 * sigma)
        line = gaussian_kernel(2 * radius + 1, sigma)[radius]
        line /= line.sum()
        values = as_float(pixels)
        return like(values + amount * (values - blurred(blurred(values, line[None]), line[:, None])), pixels)

    def protocol(self) -> ProtocolEntries:
        return {
            "unsharp_mask_sigma": protocol_value(self.sigma),
            "unsharp_mask_amount": protocol_value(self.amount),
        }
