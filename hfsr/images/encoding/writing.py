"""Atomic writing of a LoadedImage: a temporary file in the target folder is renamed when it is complete."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images.encoding.format_adaptation import fitted
from hfsr.images.encoding.png_writer import PngWriter
from hfsr.images.encoding.row_writers import RowWriter
from hfsr.images.encoding.target_file import check_place, open_new
from hfsr.images.encoding.tiff_writer import TiffWriter
from hfsr.images.formats import FORMATS, WRITE_SUFFIXES, format_of_suffix
from hfsr.images.linear_light import as_integers
from hfsr.images.loaded_image import LoadedImage, eight_bit
from hfsr.images.metadata.color_profile import is_gray_profile, to_srgb

__all__ = [
    "check_target",
    "image_to_pil",
    "open_rows",
    "output_format",
    "takes_rows",
    "write_image",
]

_ROW_WRITERS: dict[str, type[RowWriter]] = {"PNG": PngWriter, "TIFF": TiffWriter}


def write_image(image: LoadedImage, path: str | os.PathLike[str], *, jpeg_quality: int = 95) -> None:
    """Writes an image in the format of the path's suffix; an existing file is replaced at the end.

    PNG, WebP and TIFF (deflate) are written without loss. 16 bit stays 16 bit in PNG and TIFF; JPEG, WebP,
    BMP and AVIF hold 8 bit, so values are rounded. Profile, EXIF and XMP are written, except to BMP; IPTC to
    JPEG and TIFF; the resolution to all except WebP and AVIF. A JPEG holds up to 64 KB of each; longer
    metadata is left out (`fitted` reports it). WebP and AVIF have no gray: the three channels are equal, and
    a gray profile is applied.

    Args:
        image: the image to write.
        path: path that ends in one of `hfsr.images.formats.WRITE_SUFFIXES`.
        jpeg_quality: 1 to 100, for JPEG and AVIF.

    Raises:
        ImageError: the suffix is unknown, the format cannot hold this image, or the path cannot be written.
    """
    path = Path(path)
    kind = output_format(path)
    check_target(
        path,
        width=image.width,
        height=image.height,
        alpha=image.alpha is not None,
        jpeg_quality=jpeg_quality,
    )
    image = fitted(image, kind)
    if FORMATS[kind].by_rows:
        with open_rows(path, like=image, width=image.width, height=image.height) as writer:
            _write_rows(image, writer)
        return
    with open_new(path) as file:
        _write_by_pillow(image, file, kind, jpeg_quality, path)


def takes_rows(path: str | os.PathLike[str]) -> bool:
    """Returns True if `open_rows` can write the format of a path's suffix."""
    return FORMATS[output_format(path)].by_rows


@contextmanager
def open_rows(
    path: str | os.PathLike[str], *, like: LoadedImage, width: int, height: int
) -> Iterator[RowWriter]:
    """Yields a writer for the rows of a PNG or TIFF from top to bottom; the file appears on success.

    Args:
        path: path that ends in .png, .tif or .tiff.
        like: image whose channels, bits, profile and metadata the file gets.
        width: px.
        height: px.

    Raises:
        ImageError: the path cannot be written, or rows are missing at the end.
    """
    path = Path(path)
    with open_new(path) as file:
        writer = _ROW_WRITERS[output_format(path)](
            file,
            width,
            height,
            channels=(1 if like.is_gray else 3) + (like.alpha is not None),
            bits=like.bits,
            icc=like.icc,
            exif=like.exif,
            xmp=like.xmp,
            iptc=like.iptc,
            dpi=like.dpi,
            color=like.color,
            texts=like.texts,
        )
        yield writer
        writer.close()


def check_target(
    path: str | os.PathLike[str], *, width: int, height: int, alpha: bool = False, jpeg_quality: int = 95
) -> None:
    """Raises ImageError before the work if an image cannot be written.

    Args:
        path: target path.
        width: px.
        height: px.
        alpha: True if the image has transparency.
        jpeg_quality: 1 to 100.

    Raises:
        ImageError: the suffix is unknown, the format cannot hold such an image, the quality is out of range,
            or the path is a folder, a device, write-protected, or not in a writable folder.
    """
    path = Path(path)
    kind = output_format(path)
    if alpha and not FORMATS[kind].alpha:
        raise ImageError(
            f"'{path}': the image has transparency, which {kind} cannot hold; choose .png, .webp or .tif"
        )
    largest = FORMATS[kind].largest_side
    if largest is not None and max(width, height) > largest:
        raise ImageError(
            f"'{path}': {kind} holds at most {largest} px per side, the image is "
            f"{width}x{height} px; choose .png or .tif"
        )
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"JPEG quality {jpeg_quality} is out of range; choose 1 to 100")
    check_place(path)


def output_format(path: str | os.PathLike[str]) -> str:
    """Returns Pillow's name of the format of a path's suffix.

    Raises:
        ImageError: hfsr does not write this suffix, or this installation of Pillow cannot.
    """
    path = Path(path)
    known = format_of_suffix(path.suffix)
    if known is None or path.suffix.lower() not in known.writable:
        ending = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise ImageError(f"'{path}' {ending}; hfsr writes {', '.join(sorted(WRITE_SUFFIXES))}")
    kind = known.name
    if kind in {"AVIF", "WEBP"} and not features.check(kind.lower()):
        raise ImageError(f"'{path}': this installation of Pillow was built without {kind}; choose .png")
    return kind


def image_to_pil(loaded: LoadedImage) -> Image.Image:
    """Converts to Pillow's image of mode L, LA, RGB or RGBA, 8 bit, with the metadata in its `info`.

    Args:
        loaded: the image; 16-bit values are rounded to 8 bit.
    """
    loaded = as_integers(loaded, 8)
    pixels = eight_bit(loaded.pixels)
    image = Image.fromarray(pixels if loaded.alpha is None else np.dstack([pixels, eight_bit(loaded.alpha)]))
    if loaded.icc:
        image.info["icc_profile"] = loaded.icc
    if loaded.exif:
        image.info["exif"] = loaded.exif
    if loaded.xmp:
        image.info["xmp"] = loaded.xmp
    if loaded.dpi:
        image.info["dpi"] = loaded.dpi
    if gamma := dict(loaded.color).get(b"gAMA"):
        image.info["gamma"] = struct.unpack(">I", gamma)[0] / 100_000
    return image


def _write_by_pillow(loaded: LoadedImage, file: BinaryIO, kind: str, jpeg_quality: int, path: Path) -> None:
    image = image_to_pil(loaded)
    icc = loaded.icc
    if not FORMATS[kind].gray and is_gray_profile(icc):
        image, icc = _without_gray(image, icc), None
    encoded = (
        io.BytesIO()
    )  # given the file itself, Pillow does not detect that a full disk stored only a part
    try:
        image.save(encoded, kind, **_options(loaded, kind, icc, jpeg_quality))
    except (ValueError, RuntimeError, OSError) as error:
        raise ImageError(f"'{path}' cannot be written as {kind} ({error}); choose .png") from error
    file.write(encoded.getbuffer())


def _without_gray(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Converts gray, with or without alpha, to sRGB by its profile; unchanged if the profile is damaged."""
    alpha = image.getchannel("A") if image.mode == "LA" else None
    color = to_srgb(image.getchannel("L"), icc)
    if color is None:
        return image
    if alpha is not None:
        color.putalpha(alpha)
    return color


def _options(image: LoadedImage, kind: str, icc: bytes | None, jpeg_quality: int) -> dict[str, Any]:
    by_format: dict[str, dict[str, Any]] = {
        "JPEG": {
            "quality": jpeg_quality,
            "subsampling": 0 if jpeg_quality >= 90 else 2,
            "extra": _jpeg_segments(image) if kind == "JPEG" else b"",
        },
        # `quality` is the effort of lossless WebP: 20 is three times faster than the default at the same size
        "WEBP": {"lossless": True, "exact": True, "quality": 20, "method": 2, "xmp": image.xmp or b""},
        "AVIF": {"quality": jpeg_quality, "xmp": image.xmp or b""},
    }
    options, known = by_format.get(kind, {}), FORMATS[kind]
    options |= {"dpi": image.dpi} if image.dpi and known.dpi else {}
    options |= {"icc_profile": icc} if icc and known.icc else {}
    options |= {"exif": image.exif} if image.exif and known.exif else {}
    return options


def _jpeg_segments(image: LoadedImage) -> bytes:
    """Returns XMP and IPTC as JPEG segments; `fitted` has checked their length."""
    found = b""
    if image.xmp:
        found += _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + image.xmp)
    if image.iptc:
        resource = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(image.iptc)) + image.iptc
        found += _segment(0xED, b"Photoshop 3.0\0" + resource + bytes(len(image.iptc) % 2))
    return found


def _segment(marker: int, data: bytes) -> bytes:
    size = len(data) + 2
    return struct.pack(">BBH", 0xFF, marker, size) + data


def _write_rows(image: LoadedImage, writer: RowWriter) -> None:
    rows = max(1, (1 << 20) // image.width)
    for start in range(0, image.height, rows):
        band = slice(start, start + rows)
        pixels = image.pixels[band]
        writer.write(pixels if image.alpha is None else np.dstack([pixels, image.alpha[band]]))
