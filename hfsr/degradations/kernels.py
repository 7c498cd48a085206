"""Blur kernels: weights of the neighborhood of a px, with odd sides and sum 1, float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import DataError, MissingDependencyError

__all__ = ["Shape", "blurred", "gaussian_kernel", "read_kernels", "read_weights", "sinc_kernel"]

Kernel = NDArray[np.float64]
Shape = Literal["gaussian", "generalized", "plateau"]

_DIRECT = 9  # px: up to this side sums run in a fixed order, above it by Fourier transforms
_ANGLES = 256


def gaussian_kernel(
    size: int,
    sigma_x: float,
    sigma_y: float | None = None,
    *,
    angle: float = 0.0,
    shape: Shape = "gaussian",
    beta: float = 1.0,
) -> Kernel:
    """Gaussian kernel, sampled at px centers; with one sigma it equals MATLAB's fspecial('gaussian').

    Args:
        size: side in px, odd.
        sigma_x: standard deviation in px along the first axis of the ellipse.
        sigma_y: standard deviation along the second axis; None means `sigma_x`.
        angle: angle of the first axis to the horizontal, radians.
        shape: "generalized" raises the squared distance d to the power of beta, "plateau" is
            1 / (d ** beta + 1), as in Real-ESRGAN.
        beta: exponent; values below 1 give longer tails, values above 1 a flatter top.
    """
    x, y = _grid(size)
    along = (x * math.cos(angle) + y * math.sin(angle)) / sigma_x
    across = (y * math.cos(angle) - x * math.sin(angle)) / (sigma_x if sigma_y is None else sigma_y)
    distance = along**2 + across**2
    if shape == "plateau":
        kernel = 1 / (distance**beta + 1)
    else:
        kernel = np.exp(-0.5 * (distance if shape == "gaussian" else distance**beta))
    return kernel / kernel.sum()


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Ideal two-dimensional low-pass filter, cut off at the kernel's edge, which causes ringing.

    Args:
        size: side in px, odd.
        cutoff: highest frequency that passes, radians per px, at most pi.
    """
    x, y = _grid(size)
    distance = np.hypot(x, y) * cutoff
    # The Bessel function J1 equals this mean; over a whole period the sum converges faster than any power.
    turn = np.arange(_ANGLES) * (2 * math.pi / _ANGLES)
    bessel = np.cos(turn - distance[..., None] * np.sin(turn)).mean(axis=-1)
    kernel = np.where(distance > 0, bessel / np.where(distance > 0, distance, 1), 0.5)
    return kernel / kernel.sum()


def blurred(values: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    """Correlates with a kernel of odd sides; edge px are repeated outside the image.

    Args:
        values: (H, W) or (H, W, C).
        kernel: at most a few dozen px wide.

    Returns:
        Same shape.
    """
    radii = [side // 2 for side in kernel.shape]
    padded = np.pad(values, [(r, r) for r in radii] + [(0, 0)] * (values.ndim - 2), mode="edge")
    height, width = values.shape[:2]
    if max(kernel.shape) <= _DIRECT:
        total = np.zeros_like(values)
        for (y, x), weight in np.ndenumerate(kernel):
            total += weight * padded[y : y + height, x : x + width]
        return total
    shape = padded.shape[:2]
    weights = np.fft.rfft2(kernel[::-1, ::-1], shape).reshape(shape[0], -1, *[1] * (values.ndim - 2))
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * weights
    whole = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    return whole[2 * radii[0] :, 2 * radii[1] :]


def read_kernels(path: Path) -> NDArray[np.float64]:
    """Reads kernels from a file: `.npy`, `.txt`/`.csv` (one kernel), or MATLAB's `.mat`.

    Returns:
        Shape (N, h, w), each of sum 1; even sides are padded with zeros to odd ones.

    Raises:
        DataError: If the file is missing, unreadable, or contains no kernel.
        MissingDependencyError: If a `.mat` file is read without SciPy.
    """
    try:
        found = read_weights(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the kernel '{path}': {error}") from error
    kernels = np.asarray(found, np.float64)
    kernels = kernels[None] if kernels.ndim == 2 else kernels
    sums = kernels.sum(axis=(1, 2)) if kernels.ndim == 3 else np.zeros(1)
    if kernels.size == 0 or not np.all(np.isfinite(sums)) or np.any(np.abs(sums) < 1e-6):
        raise DataError(
            f"'{path}' holds an array of shape {kernels.shape}; a kernel is (h, w) or (N, h, w), sum not 0"
        )
    fill = [(0, 0), *((0, 1 - side % 2) for side in kernels.shape[1:])]
    return np.pad(kernels / sums[:, None, None], fill)


def read_weights(path: Path) -> NDArray:
    """Reads the array of numbers in a `.npy`, `.mat`, `.csv` or text file.

    If a `.mat` file has several variables, `Kernel` is read.

    Raises:
        OSError, ValueError: If the file cannot be read, or contains no array of numbers.
        MissingDependencyError: If a `.mat` file is read without SciPy.
    """
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix != ".mat":
        return np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=2)
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError("scipy", extra="train", purpose="reading .mat kernels") from error
    found = {name: value for name, value in _loaded(loadmat, path).items() if not name.startswith("__")}
    arrays = [found["Kernel"]] if "Kernel" in found else list(found.values())
    if len(arrays) != 1 or arrays[0].dtype.kind != "f":
        raise ValueError(f"it holds {len(arrays)} variables, not one array of numbers")
    return arrays[0]


def _loaded(loadmat: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any]:
    try:
        return loadmat(path)
    except NotImplementedError as error:
        raise ValueError("a MATLAB file of version 7.3; save it in MATLAB with '-v7'") from error
    except Exception as error:  # SciPy raises many types of exceptions for an invalid file
        raise ValueError("not a whole MATLAB file") from error


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line = np.arange(size, dtype=np.float64) - size // 2
    return line[None, :], line[:, None]
