"""A picture in memory, and its way into a network and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Picture", "alpha_to_rgb_float", "from_rgb_float", "quantise", "to_rgb_float"]

_BAND = 1 << 20  # values converted at once: float copies stay this small


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels as they are looked at (orientation applied), with what travels beside them.

    Raises:
        ImageError: on construction, when dtype or shapes are not as stated.
    """

    pixels: NDArray
    """RGB (H, W, 3) or gray (H, W); uint8 or uint16."""

    alpha: NDArray | None = None
    """Opacity (H, W), same dtype as the pixels, not multiplied into them; None: opaque."""

    icc: bytes | None = None
    """The colour profile that describes the pixels; None: sRGB is meant."""

    exif: bytes | None = None
    """EXIF as Pillow writes it, without layout tags, Orientation 1; None: there is none."""

    format: str = ""
    """Pillow's name of the source's format ("PNG", "JPEG"); empty for a picture made in memory."""

    notes: tuple[str, ...] = ()
    """What reading had to change, in words for the user ("only the first of 3 pages was read")."""

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype not in (np.uint8, np.uint16) or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
            raise ImageError(
                f"pixels are {dtype} of shape {shape}; need uint8 or uint16, (H, W) or (H, W, 3)"
            )
        if 0 in shape:
            raise ImageError(f"a picture of {shape[1]}x{shape[0]} px has nothing in it")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != dtype):
            raise ImageError(
                f"alpha is {self.alpha.dtype} of shape {self.alpha.shape}; need {dtype} of {shape[:2]}"
            )

    @property
    def height(self) -> int:
        """Rows, px."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns, px."""
        return self.pixels.shape[1]

    @property
    def is_gray(self) -> bool:
        """Whether there is one channel beside alpha."""
        return self.pixels.ndim == 2

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return self.pixels.dtype.itemsize * 8


def to_rgb_float(picture: Picture) -> Tensor:
    """The colour as networks take it: gray repeated, alpha multiplied in so that hidden colours cannot leak.

    Returns:
        RGB float32 in [0, 1], shape (1, 3, H, W).
    """
    return _to_tensor(picture.pixels, picture.alpha)


def alpha_to_rgb_float(picture: Picture) -> Tensor:
    """The opacity as networks take it: float32 in [0, 1], repeated to (1, 3, H, W).

    Raises:
        ImageError: the picture has no alpha.
    """
    if picture.alpha is None:
        raise ImageError("this picture has no alpha")
    return _to_tensor(picture.alpha, None)


def from_rgb_float(colour: Tensor, like: Picture, *, alpha: Tensor | None = None) -> Picture:
    """A network's result as a picture of the same kind as `like`: depth, gray, profile, EXIF, format.

    Args:
        colour: RGB float in [0, 1] nominal, shape (1, 3, h, w), any size; premultiplied where `like` has
        alpha.
            A gray picture gets the mean of the three channels.
        alpha: what the network made of `alpha_to_rgb_float(like)`, of the same shape; needed exactly where
            `like` has alpha.

    Returns:
        Values clamped, and rounded half up.

    Raises:
        ImageError: alpha is missing, or is there for nothing.
    """
    if (alpha is None) != (like.alpha is None):
        raise ImageError("give alpha exactly where the source picture has it")
    height, width = colour.shape[-2:]
    pixels = np.empty((height, width) if like.is_gray else (height, width, 3), like.pixels.dtype)
    opacity = None if alpha is None else np.empty((height, width), like.pixels.dtype)
    rows = max(1, _BAND // (3 * width))
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        values = colour[0, :, band].float()
        if alpha is not None and opacity is not None:
            cover = alpha[0, :, band].float().mean(0).clamp(0, 1)
            opacity[band] = quantise(cover, opacity.dtype)
            values = values / cover.clamp(min=1e-6)
        pixels[band] = quantise(values.mean(0) if like.is_gray else values.permute(1, 2, 0), pixels.dtype)
    return replace(like, pixels=pixels, alpha=opacity)


def quantise(values: Tensor, dtype: np.dtype | type = np.uint8) -> NDArray:
    """Floats to integers, the one rounding of the project: clamp to [0, 1], times the peak, half up.

    Args:
        values: any shape and device.
        dtype: uint8 or uint16.

    Returns:
        Same shape, `dtype`. Not a number becomes 0.
    """
    peak = float(np.iinfo(dtype).max)
    scaled = values.detach().float().nan_to_num(0.0).clamp(0, 1).mul(peak).add_(0.5).cpu()
    return scaled.numpy().astype(dtype)


def _to_tensor(pixels: NDArray, alpha: NDArray | None) -> Tensor:
    import torch

    height, width = pixels.shape[:2]
    peak = float(np.iinfo(pixels.dtype).max)
    result = torch.empty((1, 3, height, width))
    rows = max(1, _BAND // (3 * width))
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        values = torch.from_numpy(pixels[band].astype(np.float32))
        result[0, :, band] = values if pixels.ndim == 2 else values.permute(2, 0, 1)
        result[0, :, band] /= peak
        if alpha is not None:
            result[0, :, band] *= torch.from_numpy(alpha[band].astype(np.float32)) / peak
    return result
