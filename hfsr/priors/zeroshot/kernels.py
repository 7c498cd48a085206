"""Blur kernels: from a file or an array, checked, and for the steps between two scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError, MissingDependencyError, OptionsError, some_of

__all__ = ["LARGEST_KERNEL", "checked_kernel", "read_kernel", "rescaled"]

LARGEST_KERNEL = 65
"""Longest side of a kernel in px."""

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
    readers: dict[str, Callable[[Path], NDArray]] = {
        ".mat": _from_mat,
        ".npy": _from_npy,
        ".png": _from_png,
        ".txt": _from_txt,
    }
    if path.suffix.lower() not in readers:
        raise OptionsError(
            f"kernel '{path}' is no file of a known kind; use {', '.join(readers)}, 'bicubic' or 'estimate'"
        )
    if not path.is_file():
        raise OptionsError(f"the kernel file '{path}' is not there; check the path")
    try:
        values = readers[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, SyntaxError, KeyError, Image.DecompressionBombError) as error:
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


def _from_npy(path: Path) -> NDArray:
    return np.load(path, allow_pickle=False)


def _from_txt(path: Path) -> NDArray:
    return np.loadtxt(path, ndmin=2)


def _from_png(path: Path) -> NDArray:
    with Image.open(path, formats=("PNG",)) as image:
        if image.mode not in ("1", "L", "I;16", "I"):
            raise ImageError(f"its mode is {image.mode}; need gray")
        levels = np.asarray(image, np.float64)
    if not levels.any():
        raise ImageError("it is black")
    return levels / levels.sum()


def _from_mat(path: Path) -> NDArray:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise MissingDependencyError("scipy", extra="train", purpose="reading a .mat file") from error
    try:
        content = loadmat(path)
    except NotImplementedError as error:
        raise ImageError("a MATLAB file of version 7.3; save it in MATLAB with '-v7'") from error
    except Exception as error:  # a file that is none fails in any way it likes
        raise ImageError("not a whole MATLAB file") from error
    matrices = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "fiu"
    }
    if "Kernel" in matrices:
        return matrices["Kernel"]
    if len(matrices) != 1:
        raise ImageError(f"it holds {some_of(matrices) or 'no matrix'}; name the kernel 'Kernel'")
    return next(iter(matrices.values()))
