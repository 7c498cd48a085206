"""Blur kernels: reading from files, checks, and rescaling to another SR grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.degradations.kernels import read_weights
from hfsr.errors import ImageError, OptionsError

__all__ = ["MAX_KERNEL_SIDE", "check_kernel", "read_kernel", "rescale_kernel"]

MAX_KERNEL_SIDE = 65
"""Maximum side of a kernel in px."""

_SUFFIXES = (".npy", ".txt", ".mat", ".png")
_TOLERANCE = 1e-2


def read_kernel(path: str | Path) -> NDArray[np.float64]:
    """Reads a blur kernel: weights over SR px whose weighted sum is one LR px.

    Args:
        path: `.npy` or `.txt` (rows of numbers), `.mat` (up to version 7: the variable `Kernel`, or the only
            matrix in the file), or `.png` (gray levels, which are divided by their sum).

    Returns:
        float64 (h, w), sum 1.

    Raises:
        OptionsError: the file cannot be read, or does not hold a kernel.
        MissingDependencyError: the file is a `.mat` file, and scipy is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionsError(
            f"kernel '{path}' is not a file of a known type; use {', '.join(_SUFFIXES)}, 'bicubic' or "
            "'estimate'"
        )
    if not path.is_file():
        raise OptionsError(f"the kernel file '{path}' does not exist; check the path")
    try:
        values = _from_png(path) if suffix == ".png" else read_weights(path)
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OptionsError(f"the kernel file '{path}' cannot be read ({reason})") from error
    return check_kernel(values, f"the kernel in '{path}'")


def check_kernel(values: Any, source: str = "the kernel") -> NDArray[np.float64]:
    """Checks a kernel and divides it by its sum, which removes rounding errors.

    Args:
        values: array-like, (h, w).
        source: subject of an error message.

    Raises:
        OptionsError: it is not a matrix of finite numbers, is too large, or does not sum to 1 (within 1 %).
    """
    try:
        kernel = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise OptionsError(f"{source} is not a matrix of numbers") from error
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise OptionsError(f"{source} has shape {kernel.shape}; need a matrix (h, w)")
    if max(kernel.shape) > MAX_KERNEL_SIDE:
        size = f"{kernel.shape[1]}x{kernel.shape[0]}"
        raise OptionsError(f"{source} is {size} px; need at most {MAX_KERNEL_SIDE} px a side")
    if not np.isfinite(kernel).all():
        raise OptionsError(f"{source} contains NaN or infinite values; need finite ones")
    total = float(kernel.sum())
    if abs(total - 1) > _TOLERANCE:
        raise OptionsError(f"{source} sums to {total:.4g}, but must sum to 1; divide it by its sum")
    return kernel / total


def rescale_kernel(kernel: NDArray, vertical: float, horizontal: float) -> NDArray[np.float64]:
    """Resamples a kernel to the coarser SR grid of a smaller scale.

    Args:
        kernel: (h, w), sum 1.
        vertical: new px per old px along a column, at most 1.
        horizontal: new px per old px along a row, at most 1.
    """
    for axis, factor in ((0, vertical), (1, horizontal)):
        if factor == 1:
            continue
        side = kernel.shape[axis]
        marginal = kernel.sum(axis=1 - axis)
        mass = float((marginal * np.arange(side)).sum())
        positions = (np.arange(side) - mass) * factor
        half = int(np.ceil(np.abs(positions).max()))
        grid = np.arange(-half, half + 1)
        # Each weight is split between the two nearest px, which preserves the sum and the center of mass.
        shares = np.clip(1 - np.abs(grid[:, None] - positions[None]), 0, None)
        kernel = np.moveaxis(np.tensordot(shares, kernel, axes=(1, axis)), 0, axis)
    return kernel


def _from_png(path: Path) -> NDArray:
    with Image.open(path, formats=("PNG",)) as image:
        if image.mode not in ("1", "L", "I;16", "I"):
            raise ImageError(f"its mode is {image.mode}; use a gray image")
        levels = np.asarray(image, np.float64)
    if not levels.any():
        raise ImageError("it is black everywhere")
    return levels / levels.sum()
