"""MATLAB's bicubic interpolation, and reduction by a given kernel; the pixel type is kept.

MATLAB's `imresize` on an integer image resizes the heights, rounds, resizes the widths and rounds again. The
LR images of the benchmarks were made like this, and `bicubic_down` reproduces them bit for bit (a
floating-point intermediate changes 10-15 % of the pixels by one). `bicubic_up`, the baseline, rounds once, at
the end, as evaluation codes do that upscale a float image. Sums are float64, added in a fixed order: no
result depends on the machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

from ._pixels import check, to_integers

__all__ = [
    "bicubic_down",
    "bicubic_up",
    "cubic_taps",
    "kernel_centers",
    "kernel_down",
    "modcrop",
]

_BLOCK = 1 << 17  # values of one block of output rows; as float64 they stay in the processor's cache


def modcrop(image: NDArray, scale: float) -> NDArray:
    """Crops the right and bottom edges so that both sides are multiples of `scale`.

    Args:
        image: shape (H, W) or (H, W, C).
        scale: a whole number crops to its multiples; a real scale to the largest side that
            `floor(side / scale)` LR px reproduce exactly.

    Returns:
        A view of `image`, at least one LR px on each side.

    Raises:
        ImageError: If the image is smaller than `scale`.
    """
    height, width = (_largest_side(side, scale) for side in image.shape[:2])
    if height < 1 or width < 1:
        raise ImageError(
            f"an image of {image.shape[1]}x{image.shape[0]} px is smaller than one px at scale {scale:g}"
        )
    return image[:height, :width]


def bicubic_down(image: NDArray, scale: float) -> NDArray:
    """Reduces as MATLAB's `imresize(image, 1/scale, 'bicubic')` does: antialiased, rounded after each axis.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, C), any channel order.
        scale: at least 1.

    Returns:
        Shape (ceil(H/scale), ceil(W/scale)[, C]), same dtype, C-contiguous.

    Raises:
        ImageError: If the dtype, the shape or the scale is not supported, or the image is empty.
    """
    check(image, scale)
    height, width = (math.ceil(side / scale - 1e-9) for side in image.shape[:2])
    return _resize(image, height, width, 1 / scale, round_between=True)


def bicubic_up(image: NDArray, scale: float) -> NDArray:
    """Upscales as MATLAB's `imresize(im2double(image), scale, 'bicubic')` does, rounded once at the end.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, C), any channel order.
        scale: at least 1.

    Returns:
        Shape (floor(H*scale), floor(W*scale)[, C]), same dtype, C-contiguous: the output size of a network of
        this scale (MATLAB rounds up, which differs only if the scale is not a whole number).

    Raises:
        ImageError: If the dtype, the shape or the scale is not supported, or the image is empty.
    """
    check(image, scale)
    height, width = (math.floor(side * scale + 1e-6) for side in image.shape[:2])
    return _resize(image, height, width, scale, round_between=False)


def kernel_down(
    image: NDArray, kernel: NDArray, scale: float | tuple[float, float], *, shift: bool = True
) -> NDArray:
    """Blurs by a kernel and subsamples by `scale`, rounded once at the end; edges are mirrored.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, C), any channel order.
        kernel: weights over px of `image` around each LR px, not flipped (correlation), shape (h, w), sum 1.
        scale: at least 1; two numbers are horizontal and vertical.
        shift: see `kernel_centers`.

    Returns:
        Shape (ceil(H/down), ceil(W/across)[, C]), same dtype, C-contiguous.

    Raises:
        ImageError: If the dtype, the shape or the scale is not supported, or the image is empty.
    """
    across, down = scale if isinstance(scale, tuple) else (scale, scale)
    check(image, min(across, down))
    pixels = image.reshape(*image.shape[:2], -1).astype(np.float64)
    top, left = (side // 2 for side in kernel.shape)
    bottom, right = (side - 1 - side // 2 for side in kernel.shape)
    padded = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    blurred = np.zeros_like(pixels)
    for (y, x), weight in np.ndenumerate(kernel):
        blurred += weight * padded[y : y + image.shape[0], x : x + image.shape[1]]
    for size, factor, axis in ((image.shape[0], down, 0), (image.shape[1], across, 1)):
        length = math.ceil(size / factor - 1e-9)
        taps = cubic_taps(kernel_centers(kernel, length, factor, axis=axis, shift=shift), size)
        blurred = np.ascontiguousarray(_mix(blurred, *taps).swapaxes(0, 1))
    return to_integers(blurred, image.dtype).reshape(*blurred.shape[:2], *image.shape[2:])


def kernel_centers(kernel: NDArray, length: int, factor: float, *, axis: int, shift: bool = True) -> NDArray:
    """Positions along one axis, in px of the image, at which a blurred image is sampled for each LR px.

    With `shift`, the kernel's center of mass lies in the middle of the `factor` px that an LR px covers, so
    the LR image is aligned whatever the kernel. Without, the kernel's middle, (h // 2, w // 2), lies at every
    `factor`-th px from the first one on, as in plain subsampling.
    """
    if not shift:
        return np.arange(length) * float(factor)
    marginal = np.asarray(kernel, np.float64).sum(axis=1 - axis)
    mass = float((marginal * np.arange(marginal.size)).sum() / marginal.sum())
    return (np.arange(length) + 0.5) * factor - 0.5 - (mass - marginal.size // 2)


def _largest_side(side: int, scale: float) -> int:
    return math.floor(math.floor(side / scale + 1e-9) * scale + 1e-6)


def _resize(image: NDArray, height: int, width: int, factor: float, *, round_between: bool) -> NDArray:
    """Resizes heights, then widths, a block of output rows at a time."""
    rows, row_weights = _taps(image.shape[0], height, factor)
    columns, column_weights = _taps(image.shape[1], width, factor)
    pixels = image.reshape(*image.shape[:2], -1)
    result = np.empty((height, width, pixels.shape[2]), image.dtype)
    step = max(1, _BLOCK // (max(width, image.shape[1]) * pixels.shape[2]))
    for start in range(0, height, step):
        block = slice(start, start + step)
        tall = _mix(pixels, rows[block], row_weights[block])
        if round_between:
            tall = to_integers(tall, image.dtype)
        wide = _mix(np.ascontiguousarray(tall.swapaxes(0, 1)), columns, column_weights)
        result[block] = to_integers(wide, image.dtype).swapaxes(0, 1)
    return result.reshape(height, width, *image.shape[2:])


def _mix(lines: NDArray, sources: NDArray, weights: NDArray) -> NDArray:
    """Weighted sums of whole lines of axis 0, in float64: (N, ...) -> (len(sources), ...)."""
    column = (slice(None), *[None] * (lines.ndim - 1))
    total = lines[sources[:, 0]] * weights[:, 0][column]
    for tap in range(1, sources.shape[1]):
        total += lines[sources[:, tap]] * weights[:, tap][column]
    return total


def _taps(size: int, length: int, factor: float) -> tuple[NDArray, NDArray]:
    """Taps for resizing `size` px to `length` px, with `factor` px for each."""
    return cubic_taps((np.arange(length) + 0.5) / factor - 0.5, size, min(factor, 1.0))


def cubic_taps(centers: NDArray, size: int, shrink: float = 1.0) -> tuple[NDArray, NDArray]:
    """Indices and weights for sampling a line of px at real positions by cubic convolution.

    Args:
        centers: sampling positions in px, the first px being at 0; shape (N,).
        size: px of the line; it is mirrored at its ends.
        shrink: at most 1; smaller values widen the kernel by 1 / shrink, for antialiased reduction.

    Returns:
        Indices of the px for each position, and their weights, which sum to 1: both (N, taps).
    """
    reach = 2 / shrink
    first = np.floor(centers - reach)
    positions = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weights = _cubic((centers[:, None] - positions) * shrink)
    used = weights.any(axis=0)
    weights, positions = weights[:, used], positions[:, used]
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions.astype(np.intp) % (2 * size)
    return np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored), weights


def _cubic(x: NDArray) -> NDArray:
    """Keys' cubic convolution kernel with a = -1/2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
