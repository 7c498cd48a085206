"""Image in memory, and its conversion to and from network tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LoadedImage", "eight_bit", "from_rgb_float", "levels", "quantize", "to_rgb_float"]

_BAND = 1 << 20  # values converted at once: float copies stay this small


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """Upright pixels (orientation applied), with their metadata.

    Raises:
        ImageError: on construction, if dtype or shapes are not as stated.
    """

    pixels: NDArray
    """RGB (H, W, 3) or gray (H, W); uint8, uint16, or float32: 1 is white, more is brighter; linear light
    unless the profile says otherwise."""

    alpha: NDArray | None = None
    """Opacity (H, W), same dtype as the pixels, which are not premultiplied; None: opaque."""

    icc: bytes | None = None
    """The color profile that describes the pixels; None: sRGB, unless `color` states otherwise."""

    exif: bytes | None = None
    """EXIF with its "Exif" prefix, as in a JPEG, without layout tags, Orientation 1; None: no EXIF."""

    xmp: bytes | None = None
    """An XMP packet in UTF-8, with Orientation 1 and without the image's size; None: no XMP."""

    iptc: bytes | None = None
    """IPTC-IIM records; None: no records."""

    dpi: tuple[float, float] | None = None
    """Horizontal and vertical px per inch, as stated in the file; None: not stated."""

    color: tuple[tuple[bytes, bytes], ...] = ()
    """Color space of images without a profile: PNG's cICP, gAMA, cHRM, by name and data."""

    texts: tuple[tuple[bytes, bytes], ...] = ()
    """Text chunks of a PNG (prompts, workflows, descriptions), by name and data."""

    format: str = ""
    """Pillow's name of the source's format ("PNG", "JPEG"); empty for an image made in memory."""

    notes: tuple[str, ...] = ()
    """Changes and omissions during reading, for the user ("only the first of 3 pages was read")."""

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype not in (np.uint8, np.uint16, np.float32) or not (
            len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        ):
            raise ImageError(
                f"pixels are {dtype} of shape {shape}; need uint8, uint16 or float32, (H, W) or (H, W, 3)"
            )
        if 0 in shape:
            raise ImageError(f"an image of {shape[1]}x{shape[0]} px is empty; need at least 1x1 px")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != dtype):
            raise ImageError(
                f"alpha is {self.alpha.dtype} of shape {self.alpha.shape}; need {dtype} of {shape[:2]}"
            )

    @property
    def height(self) -> int:
        """Height in px."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Width in px."""
        return self.pixels.shape[1]

    @property
    def is_gray(self) -> bool:
        """True if there is one channel besides alpha."""
        return self.pixels.ndim == 2

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16, or 32 for floats."""
        return self.pixels.dtype.itemsize * 8


def to_rgb_float(pixels: NDArray) -> Tensor:
    """Converts pixels to the input tensor of networks; gray is repeated.

    Args:
        pixels: uint8 or uint16, RGB (H, W, 3) or gray (H, W).

    Returns:
        RGB float32 in [0, 1], shape (1, 3, H, W), contiguous.
    """
    import torch

    height, width = pixels.shape[:2]
    peak = float(np.iinfo(pixels.dtype).max)
    result = torch.empty((1, 3, height, width))
    for band in _bands(height, width):
        values = torch.from_numpy(pixels[band].astype(np.float32)).div_(peak)
        result[0, :, band] = values if pixels.ndim == 2 else values.permute(2, 0, 1)
    return result


def from_rgb_float(result: Tensor, dtype: np.dtype | type = np.uint8, *, gray: bool = False) -> NDArray:
    """Converts the output of a network to pixels, rounded as by `quantize`, without a second float copy.

    Args:
        result: RGB float, nominally in [0, 1], shape (1, 3, H, W), any device.
        dtype: uint8 or uint16.
        gray: True to return the mean of the three channels.

    Returns:
        RGB (H, W, 3), or gray (H, W).
    """
    height, width = result.shape[-2:]
    pixels = np.empty((height, width) if gray else (height, width, 3), dtype)
    for band in _bands(height, width):
        values = result[0, :, band].float()
        pixels[band] = quantize(values.mean(0) if gray else values.permute(1, 2, 0), dtype)
    return pixels


def quantize(values: Tensor, dtype: np.dtype | type = np.uint8) -> NDArray:
    """Rounds floats to integers, everywhere in hfsr: clamp to [0, 1], multiply by the peak, round half up.

    Args:
        values: any shape and device.
        dtype: uint8 or uint16.

    Returns:
        Same shape, `dtype`. NaN becomes 0.
    """
    return levels(values, dtype).cpu().numpy().astype(dtype)


def levels(values: Tensor, dtype: np.dtype | type = np.uint8) -> Tensor:
    """Like `quantize`, but returns a tensor on the same device: uint8, or int32 for uint16."""
    import torch

    peak = int(np.iinfo(dtype).max)
    scaled = values.detach().float().nan_to_num(0.0).clamp_(0, 1).mul_(float(peak)).add_(0.5)
    return scaled.to(torch.uint8 if peak < 256 else torch.int32)


def eight_bit(samples: NDArray) -> NDArray[np.uint8]:
    """Rounds 16-bit samples to 8 bit (257 steps become one); returns 8-bit samples unchanged."""
    return (
        samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    )


def _bands(height: int, width: int) -> Iterator[slice]:
    rows = max(1, _BAND // (3 * width))
    return (slice(start, start + rows) for start in range(0, height, rows))
