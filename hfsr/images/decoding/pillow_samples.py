"""Channels of an image that Pillow has decoded, where its mode alone does not tell their range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError

__all__ = ["check_tiff_tags", "scaled_level", "split_channels"]


def check_tiff_tags(image: Image.Image) -> None:
    """Raises ImageError for a TIFF whose signed or 32-bit integers Pillow has read as if they were gray."""
    tags: Any = getattr(image, "tag_v2", {})
    if 2 in tags.get(339, ()):
        raise ImageError("its samples are signed integers; convert it to unsigned 16-bit integers first")
    if image.mode == "I" and max(tags.get(258, (16,))) > 16:
        raise ImageError("its samples are 32-bit integers; convert it to unsigned 16-bit integers first")


def scaled_level(key: int, image: Image.Image) -> int:
    """Scales a transparent level like the samples, if those had 2 or 4 bit: Pillow scales only the samples.

    An image that is decoded does not tell its depth: its levels must be those of 2 or 4 bit, and the scaled
    level must be one of them.

    Args:
        key: the level in the file.
        image: loaded, of mode L.
    """
    levels = {level for level, count in enumerate(image.histogram()) if count}
    for largest in (3, 15):
        step = 255 // largest
        if 0 < key <= largest and key * step in levels and not any(level % step for level in levels):
            return key * step
    return key


def split_channels(image: Image.Image, deep: NDArray | None, key: Any) -> tuple[NDArray, NDArray | None]:
    """Separates color or gray from alpha: (H, W, 3) or (H, W), and (H, W).

    Args:
        image: loaded.
        deep: its 16-bit samples, if Pillow cannot hold them.
        key: the gray level or the color that is transparent, scaled like the samples; of a palette something
            else, or None.

    Raises:
        ImageError: samples that are floats, or not in the range of 16 bit.
    """
    if deep is not None:
        channels = deep.shape[2]
        if channels <= 2:
            return deep[..., 0].copy(), deep[..., 1].copy() if channels == 2 else None
        if channels == 3 and isinstance(key, tuple):
            return deep, _opaque_except(deep, key)
        return deep[..., :3], deep[..., 3] if channels == 4 else None
    if image.mode == "F":
        raise ImageError("its samples are floating-point numbers; convert it to 16-bit integers first")
    if image.mode.startswith("I"):
        gray = _sixteen_bit(image)
        return gray, _opaque_except(gray, key) if isinstance(key, int) else None
    if image.mode in {"1", "L"} and isinstance(key, int):
        gray = np.array(image.convert("L"))
        return gray, _opaque_except(gray, 255 * bool(key) if image.mode == "1" else key)
    if image.mode == "RGB" and isinstance(key, tuple):
        return (colors := np.array(image)), _opaque_except(colors, key)
    gray_kind = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data:
        target = "LA" if gray_kind else "RGBA"
        samples = np.array(image if image.mode == target else image.convert(target))
        return np.ascontiguousarray(samples[..., 0] if gray_kind else samples[..., :3]), samples[
            ..., -1
        ].copy()
    target = "L" if gray_kind else "RGB"
    return np.array(image if image.mode == target else image.convert(target)), None


def _opaque_except(pixels: NDArray, key: int | tuple[int, ...]) -> NDArray:
    """Returns alpha (H, W) that is 0 where the pixels have one gray level or color."""
    is_key = pixels == key if isinstance(key, int) else (pixels == key).all(-1)
    return np.where(is_key, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def _sixteen_bit(image: Image.Image) -> NDArray[np.uint16]:
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"its samples are from {values.min()} to {values.max()}; need unsigned 8 or 16 bit")
    tags: Any = getattr(image, "tag_v2", {})
    gray = values.astype(np.uint16)
    if tags.get(258) == (12,) and values.max() < 4096:  # Pillow does not scale them
        gray = ((values.astype(np.uint32) * 65535 + 2047) // 4095).astype(np.uint16)
    return 65535 - gray if tags.get(262) == 0 else gray  # white is zero: Pillow inverts only 8-bit samples
