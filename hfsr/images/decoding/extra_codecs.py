"""Codecs of optional packages: imagecodecs for JPEG XL and AVIF of more than 8 bit, pillow-heif for HEIC."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError, install_command
from hfsr.images.formats import has_package

__all__ = ["decode_avif", "decode_jxl", "is_heic", "open_heic"]

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def is_heic(file: BinaryIO) -> bool:
    """Returns True for an image of the HEIF family that is not an AVIF."""
    file.seek(0)
    start = file.read(64)
    file.seek(0)
    if start[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))}
    return bool(brands & _HEIC_BRANDS) and not brands & _AVIF_BRANDS


def open_heic(file: BinaryIO) -> Image.Image:
    """Opens an image of the HEIF family, upright.

    Raises:
        ImageError: pillow-heif is not installed.
    """
    package = _package("pillow_heif", "pillow-heif", extra="heic", kind="HEIC")
    return package.HeifImageFile(file)


def decode_jxl(data: bytes) -> NDArray:
    """Decodes a JPEG XL, upright: uint8, uint16 or float32, (H, W, channels).

    Raises:
        ImageError: imagecodecs is not installed.
        Exception: the file is damaged; imagecodecs raises various types.
    """
    samples = _package("imagecodecs", "imagecodecs", extra="formats", kind="JPEG XL").jpegxl_decode(data)
    return samples.reshape(*samples.shape[:2], -1)


def decode_avif(data: bytes, depth: int) -> NDArray[np.uint16] | None:
    """Decodes an AVIF of more than 8 bit to the full range of 16 bit, (H, W, channels), not rotated.

    Returns:
        None if imagecodecs is not installed.
    """
    if not has_package("imagecodecs"):
        return None
    samples = importlib.import_module("imagecodecs").avif_decode(data)
    white = (1 << depth) - 1
    wide = (samples.astype(np.uint32) * 65535 + white // 2) // white
    return wide.astype(np.uint16).reshape(*samples.shape[:2], -1)


def _package(module: str, name: str, *, extra: str, kind: str) -> ModuleType:
    if not has_package(module):
        raise ImageError(
            f"reading {kind} needs {name}, which is not installed; run: {install_command(extra)}"
        )
    return importlib.import_module(module)
