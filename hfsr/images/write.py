"""From a Picture to a file, all or nothing: it is written beside its place and renamed when complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images.picture import Picture, eight_bit
from hfsr.images.png import PngWriter

__all__ = ["output_format", "picture_to_pil", "replacing", "write_picture"]

_FORMATS = {
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_WITHOUT_ALPHA = {"JPEG", "BMP"}
_LARGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383, "AVIF": 65_536}  # px; the formats have no room for more


def write_picture(picture: Picture, path: str | os.PathLike[str], *, jpeg_quality: int = 95) -> None:
    """Writes a picture in the format that the path's ending names; an older file is replaced at the end.

    PNG, WebP and TIFF (deflate) are written without loss. 16 bit stays 16 bit in PNG, and in gray TIFF; JPEG,
    WebP, BMP and AVIF hold 8 bit, so values are rounded. Profile and EXIF go along, but for BMP.

    Args:
        picture: what to write.
        path: ending in .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp or .avif.
        jpeg_quality: 1 to 100, for JPEG and AVIF.

    Raises:
        ImageError: the ending is unknown, the format cannot hold this picture, or the place cannot be
        written.
    """
    path = Path(path)
    kind = output_format(path)
    _check(picture, path, kind, jpeg_quality)
    with replacing(path) as file:
        if kind == "PNG":
            _write_png(picture, file)
        else:
            try:
                picture_to_pil(picture, deep_gray=kind == "TIFF").save(
                    file, kind, **_options(picture, kind, jpeg_quality)
                )
            except (ValueError, RuntimeError) as error:
                raise ImageError(f"'{path}' cannot be written as {kind} ({error}); choose .png") from error


def output_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that a path's ending asks for.

    Raises:
        ImageError: an ending that hfsr does not write, or that this Pillow cannot.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        ending = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise ImageError(f"'{path}' {ending}; hfsr writes {', '.join(sorted(_FORMATS))}")
    if kind in {"AVIF", "WEBP"} and not features.check(kind.lower()):
        raise ImageError(f"'{path}': this installation of Pillow was built without {kind}; choose .png")
    return kind


def picture_to_pil(picture: Picture, *, deep_gray: bool = False) -> Image.Image:
    """Pillow's picture of modes L, LA, RGB or RGBA, 8 bit, with profile and EXIF in its `info`.

    Args:
        picture: 16-bit values are rounded to 8 bit.
        deep_gray: 16-bit gray without alpha stays 16 bit (mode I;16) instead.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if not (deep_gray and picture.is_gray and alpha is None):
        pixels, alpha = eight_bit(pixels), None if alpha is None else eight_bit(alpha)
    image = Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha]))
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        image.info["exif"] = picture.exif
    return image


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file beside `path`, open for writing: it takes its place if the block ends well, or vanishes.

    Raises:
        ImageError: the place cannot be written (no such folder, a folder, no permission, disk full).
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"'{path}' is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ImageError(f"'{path}' cannot be written: there is no folder '{path.parent}'; make it first")
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"'{path}' cannot be written ({reason}); check permissions and free space"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _check(picture: Picture, path: Path, kind: str, jpeg_quality: int) -> None:
    if picture.alpha is not None and kind in _WITHOUT_ALPHA:
        raise ImageError(
            f"'{path}': the picture has transparency, which {kind} cannot hold; choose .png, .webp or .tif"
        )
    if kind == "TIFF" and picture.bits == 16 and not (picture.is_gray and picture.alpha is None):
        raise ImageError(
            f"'{path}': hfsr writes TIFF of 16 bit in gray only; choose .png, which keeps 16-bit colour"
        )
    side = max(picture.width, picture.height)
    if side > _LARGEST_SIDE.get(kind, side):
        raise ImageError(
            f"'{path}': {kind} holds at most {_LARGEST_SIDE[kind]} px a side, the picture is "
            f"{picture.width}x{picture.height} px; choose .png or .tif"
        )
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"JPEG quality {jpeg_quality} is out of range; choose 1 to 100")


def _options(picture: Picture, kind: str, jpeg_quality: int) -> dict[str, Any]:
    by_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": jpeg_quality, "subsampling": 0 if jpeg_quality >= 90 else 2},
        # `quality` is the effort of lossless WebP: 20 is three times faster than the default at the same size
        "WEBP": {"lossless": True, "exact": True, "quality": 20, "method": 2},
        "AVIF": {"quality": jpeg_quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
        "BMP": {},
    }
    options = by_format[kind]
    if kind != "BMP":
        options |= {"icc_profile": picture.icc} if picture.icc else {}
        options |= {"exif": picture.exif} if picture.exif else {}
    return options


def _write_png(picture: Picture, file: BinaryIO) -> None:
    channels = (1 if picture.is_gray else 3) + (picture.alpha is not None)
    writer = PngWriter(
        file,
        picture.width,
        picture.height,
        channels=channels,
        bits=picture.bits,
        icc=picture.icc,
        exif=picture.exif,
    )
    rows = max(1, (1 << 20) // picture.width)
    for start in range(0, picture.height, rows):
        band = slice(start, start + rows)
        pixels = picture.pixels[band]
        writer.write(pixels if picture.alpha is None else np.dstack([pixels, picture.alpha[band]]))
    writer.close()
