"""Codecs of optional packages: imagecodecs for JPEG XL and AVIF of more than 8 bit, pillow-heif for HEIC."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError, install_command
from hfsr.images.decoding.jxl_header import JxlHeader
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


def decode_jxl(data: bytes, header: JxlHeader) -> NDArray:
    """Decodes a JPEG XL, upright: (H, W, channels), gray or RGB, followed by alpha, not premultiplied.

    Returns:
        uint8 or uint16 over its full range, or float32, nominally in [0, 1]: samples that are floats or have
        more than 16 bit.

    Raises:
        ImageError: imagecodecs is not installed.
        Exception: the file is damaged; imagecodecs raises various types.
    """
    samples = _package("imagecodecs", "imagecodecs", extra="formats", kind="JPEG XL").jpegxl_decode(data)
    if header.is_gray and header.other_channels and not header.has_alpha:
        samples = samples[0]  # such images have their channels one after another
    samples = samples.reshape(*samples.shape[:2], -1)
    is_float = samples.dtype.kind == "f"
    found = samples.astype(np.float32) if is_float else _over_full_range(samples, header.bits)
    if header.is_premultiplied:
        ratio = samples[..., :-1] / np.where(samples[..., -1:] > 0, samples[..., -1:], np.inf)
        found[..., :-1] = ratio if is_float else np.minimum(ratio, 1) * np.iinfo(found.dtype).max + 0.5
    return found


def decode_avif(data: bytes, depth: int) -> NDArray[np.uint16] | None:
    """Decodes an AVIF of more than 8 bit to the full range of 16 bit, (H, W, channels), not rotated.

    Returns:
        None if imagecodecs is not installed.
    """
    if not has_package("imagecodecs"):
        return None
    samples = importlib.import_module("imagecodecs").avif_decode(data)
    return _over_full_range(samples, depth).reshape(*samples.shape[:2], -1)


def _over_full_range(samples: NDArray, depth: int) -> NDArray:
    """Scales samples of `depth` bit to 8 bit, or to 16 if they have more than 8; white stays white."""
    dtype = np.uint8 if depth <= 8 else np.uint16
    peak, white = int(np.iinfo(dtype).max), (1 << depth) - 1
    if peak == white:
        return samples
    return ((samples.astype(np.uint32) * peak + white // 2) // white).astype(dtype)


def _package(module: str, name: str, *, extra: str, kind: str) -> ModuleType:
    if not has_package(module):
        raise ImageError(
            f"reading {kind} needs {name}, which is not installed; run: {install_command(extra)}"
        )
    return importlib.import_module(module)
