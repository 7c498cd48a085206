"""From a Image to a file, all or nothing: it is written beside its place and renamed when complete."""

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
from hfsr.images.encoding.fitting import fitted
from hfsr.images.encoding.png_writer import PngWriter
from hfsr.images.encoding.row_writers import RowWriter
from hfsr.images.encoding.target_file import check_place, replacing
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
    """Writes an image in the format that the path's ending names; an older file is replaced at the end.

    PNG, WebP and TIFF (deflate) are written without loss. 16 bit stays 16 bit in PNG and TIFF; JPEG, WebP,
    BMP and AVIF hold 8 bit, so values are rounded. Profile, EXIF and XMP go along, but for BMP; IPTC to JPEG
    and TIFF; the resolution to all but WebP and AVIF. A JPEG has room for 64 KB of each; what is longer is
    left out (`fitted` says what that is). WebP and AVIF have no gray: the three channels are equal, and a
    profile of gray is applied.

    Args:
        image: what to write.
        path: ending in .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp or .avif.
        jpeg_quality: 1 to 100, for JPEG and AVIF.

    Raises:
        ImageError: the ending is unknown, the format cannot hold this image, or the place cannot be
        written.
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
    with replacing(path) as file:
        _write_by_pillow(image, file, kind, jpeg_quality, path)


def takes_rows(path: str | os.PathLike[str]) -> bool:
    """Whether `open_rows` can write the format that a path's ending names."""
    return FORMATS[output_format(path)].by_rows


@contextmanager
def open_rows(
    path: str | os.PathLike[str], *, like: LoadedImage, width: int, height: int
) -> Iterator[RowWriter]:
    """A PNG or TIFF that is given its rows from top to bottom; it appears when the block ends well.

    Args:
        path: ending in .png, .tif or .tiff.
        like: whose channels, bits, profile and what else travels beside its pixels it gets.
        width: px.
        height: px.

    Raises:
        ImageError: the place cannot be written, or rows are missing at the end.
    """
    path = Path(path)
    with replacing(path) as file:
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
    """Says before the work what would stop an image from being written.

    Args:
        path: where it is to go.
        width: px.
        height: px.
        alpha: whether it has transparency.
        jpeg_quality: 1 to 100.

    Raises:
        ImageError: the ending is unknown, the format cannot hold such an image, the quality is out of range,
            or the place is a folder, a device, write-protected, or in no folder that can be written to.
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
            f"'{path}': {kind} holds at most {largest} px a side, the image is "
            f"{width}x{height} px; choose .png or .tif"
        )
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"JPEG quality {jpeg_quality} is out of range; choose 1 to 100")
    check_place(path)


def output_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that a path's ending asks for.

    Raises:
        ImageError: an ending that hfsr does not write, or that this Pillow cannot.
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
    """Pillow's image of modes L, LA, RGB or RGBA, 8 bit, with what travels beside its pixels in its `info`.

    Args:
        image: 16-bit values are rounded to 8 bit.
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
    )  # given the file itself, Pillow does not notice when a full disk takes a part alone
    try:
        image.save(encoded, kind, **_options(loaded, kind, icc, jpeg_quality))
    except (ValueError, RuntimeError, OSError) as error:
        raise ImageError(f"'{path}' cannot be written as {kind} ({error}); choose .png") from error
    file.write(encoded.getbuffer())


def _without_gray(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Gray, perhaps with alpha, as sRGB by its profile; as it is where that is damaged."""
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
        "BMP": {},
    }
    options = by_format[kind]
    if image.dpi and kind in {"JPEG", "BMP"}:
        options |= {"dpi": image.dpi}
    if kind != "BMP":
        options |= {"icc_profile": icc} if icc else {}
        options |= {"exif": image.exif} if image.exif else {}
    return options


def _jpeg_segments(image: LoadedImage) -> bytes:
    """XMP and IPTC as segments of a JPEG, for which they are short enough."""
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
