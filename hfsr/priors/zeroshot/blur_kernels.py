"""Blur kernels: from a file or an array, checked, and for the steps between two scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.degradations.kernels import read_weights
from hfsr.errors import ImageError, OptionsError

__all__ = ["LARGEST_KERNEL", "checked_kernel", "read_kernel", "rescaled"]

LARGEST_KERNEL = 65
"""Longest side of a kernel in px."""

_KINDS = (".npy", ".txt", ".mat", ".png")
_TOLERANCE = 1e-2


def read_kernel(path: str | Path) -> NDArray[np.float64]:
    """Reads a kernel: weights over HR px that make one LR px.

    Args:
        path: `.npy` or `.txt` (rows of numbers), `.mat` (up to version 7: the variable `Kernel`, or the only
            matrix in it), or `.png` (gray levels, which are divided by their sum).

    Returns:
        float64 (h, w), sum 1.

    Raises:
        OptionsError: the file cannot be read, or what it holds is no kernel.
        MissingDependencyError: a `.mat` file without scipy.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise OptionsError(
            f"kernel '{path}' is no file of a known kind; use {', '.join(_KINDS)}, 'bicubic' or 'estimate'"
        )
    if not path.is_file():
        raise OptionsError(f"the kernel file '{path}' is not there; check the path")
    try:
        values = _from_png(path) if kind == ".png" else read_weights(path)
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OptionsError(f"the kernel file '{path}' cannot be read ({reason})") from error
    return checked_kernel(values, f"the kernel in '{path}'")


def checked_kernel(values: Any, source: str = "the kernel") -> NDArray[np.float64]:
    """A kernel, its rounding errors removed by dividing by its sum.

    Args:
        values: anything that numpy makes a matrix of.
        source: begins an error message.

    Raises:
        OptionsError: no matrix of finite numbers, too large, or a sum that is not 1 (within 1 %).
    """
    try:
        kernel = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise OptionsError(f"{source} is not a matrix of numbers") from error
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise OptionsError(f"{source} has shape {kernel.shape}; need a matrix (h, w)")
    if max(kernel.shape) > LARGEST_KERNEL:
        size = f"{kernel.shape[1]}x{kernel.shape[0]}"
        raise OptionsError(f"{source} is {size} px; need at most {LARGEST_KERNEL} px a side")
    if not np.isfinite(kernel).all():
        raise OptionsError(f"{source} holds NaN or infinite values; need finite ones")
    total = float(kernel.sum())
    if abs(total - 1) > _TOLERANCE:
        raise OptionsError(f"{source} sums to {total:.4g}, but must sum to 1; divide it by its sum")
    return kernel / total


def rescaled(kernel: NDArray, vertical: float, horizontal: float) -> NDArray[np.float64]:
    """The same kernel on a coarser grid: what it is in HR px at a smaller enlargement of the same picture.

    Args:
        kernel: (h, w), sum 1.
        vertical, horizontal: the new px per old one, at most 1.
    """
    for axis, factor in ((0, vertical), (1, horizontal)):
        if factor == 1:
            continue
        side = kernel.shape[axis]
        marginal = kernel.sum(axis=1 - axis)
        mass = float((marginal * np.arange(side)).sum())
        places = (np.arange(side) - mass) * factor
        half = int(np.ceil(np.abs(places).max()))
        grid = np.arange(-half, half + 1)
        # Each weight goes to the two nearest px: sum and centre of mass stay what they are.
        shares = np.clip(1 - np.abs(grid[:, None] - places[None]), 0, None)
        kernel = np.moveaxis(np.tensordot(shares, kernel, axes=(1, axis)), 0, axis)
    return kernel


def _from_png(path: Path) -> NDArray:
    with Image.open(path, formats=("PNG",)) as image:
        if image.mode not in ("1", "L", "I;16", "I"):
            raise ImageError(f"its mode is {image.mode}; need gray")
        levels = np.asarray(image, np.float64)
    if not levels.any():
        raise ImageError("it is black")
    return levels / levels.sum()
