"""Color images with 16 bits per channel, for which Pillow has a decoder but no mode.

Pillow converts 16-bit samples to 8-bit RGB by keeping the byte that its raw mode ("RGB;16B", "RGB;16L")
defines as the high one. So a file is decoded twice, once with each raw mode: first the high bytes, then the
low ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError

__all__ = ["TIFF_LAYOUTS", "deep_samples", "is_deep"]

TIFF_LAYOUTS: dict[Any, tuple[str, str]] = {
    (prefix, 1, (1,), 1, (16, 16), (2,)): ("RGBA", f"LA;16{order}")
    for prefix, order in ((b"II", "L"), (b"MM", "B"))
}
"""Gray with alpha of 16 bit, which Pillow's table of TIFF layouts lacks; only this module uses the modes."""

_DEEP = {"LA;16", "RGB;16", "RGBX;16", "RGBA;16", "RGBa;16"}
"""Raw modes, without the letter of the byte order."""
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def deep_samples(image: Image.Image, again: Image.Image) -> NDArray[np.uint16] | None:
    """Decodes a PNG or TIFF with 16 bits per channel and more than one channel.

    Args:
        image: opened, not yet loaded; this call loads it if it is such an image, else leaves it unchanged.
        again: the same file, opened a second time.

    Returns:
        uint16 of shape (H, W, C): gray and alpha (C = 2), RGB, or RGB and alpha, not premultiplied. None
        for other images.

    Raises:
        ImageError: the image has a layout that Pillow misreads.
    """
    if any(tile[0].startswith("ppm") and image.mode == "RGB" and tile[3][1] > 255 for tile in _tiles(image)):
        raise ImageError("a PPM of 16 bit in color; save it as PNG or TIFF")
    if not is_deep(image):
        return None
    mode = _raw_mode(_tiles(image)[0])
    if mode[:-1] == "LA;16":  # four bytes per px, as in RGBA: one decoding reads them all
        _rename(image, lambda _: "RGBA")
        order = ">" if mode[-1] == "B" or (mode[-1] == "N" and sys.byteorder == "big") else "<"
        return np.array(image).view(order + "u2").astype(np.uint16)
    for opened in (image, again):  # "RGBa" would divide by alpha in 8 bit
        _rename(opened, lambda raw: raw.replace("RGBa", "RGBA"))
    _rename(again, lambda raw: raw[:-1] + _SWAPPED[raw[-1]])
    samples = np.array(image).astype(np.uint16)
    samples <<= 8
    samples |= np.array(again)
    return _divide_by_alpha(samples) if mode.startswith("RGBa") else samples


def is_deep(image: Image.Image) -> bool:
    """Returns True if an image that is not loaded yet has 16 bits in each of several channels."""
    modes = {_raw_mode(tile) for tile in _tiles(image)}
    return len(modes) == 1 and modes.pop()[:-1] in _DEEP


def _divide_by_alpha(samples: NDArray[np.uint16]) -> NDArray[np.uint16]:
    alpha = np.maximum(samples[..., 3:].astype(np.float64), 1)
    samples[..., :3] = np.minimum(samples[..., :3] / alpha * 65535 + 0.5, 65535)
    return samples


def _tiles(image: Any) -> list[Any]:
    return getattr(image, "tile", [])


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""


def _rename(image: Any, rename: Callable[[str], str]) -> None:
    """Changes the raw mode of every tile of an image that is not loaded yet."""
    changed = []
    for tile in image.tile:
        name = rename(_raw_mode(tile))
        arguments = name if isinstance(tile[3], str) else (name, *tile[3][1:])
        # Pillow's tiles are named tuples from version 11 on
        changed.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments))
    image.tile = changed
