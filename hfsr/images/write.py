"""From a Picture to a file, all or nothing: it is written beside its place and renamed when complete."""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images.picture import Picture, eight_bit
from hfsr.images.png import PngWriter
from hfsr.images.profile import is_gray_profile, to_srgb
from hfsr.images.tiff import TiffWriter

__all__ = [
    "check_target",
    "open_rows",
    "output_format",
    "picture_to_pil",
    "replacing",
    "takes_rows",
    "write_picture",
]

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
_ROW_WRITERS: dict[str, type[PngWriter] | type[TiffWriter]] = {"PNG": PngWriter, "TIFF": TiffWriter}
_WITHOUT_ALPHA = {"JPEG", "BMP"}
_WITHOUT_GRAY = {"WEBP", "AVIF"}
_LARGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383, "AVIF": 65_536}  # px; the formats have no room for more


def write_picture(picture: Picture, path: str | os.PathLike[str], *, jpeg_quality: int = 95) -> None:
    """Writes a picture in the format that the path's ending names; an older file is replaced at the end.

    PNG, WebP and TIFF (deflate) are written without loss. 16 bit stays 16 bit in PNG and TIFF; JPEG, WebP,
    BMP and AVIF hold 8 bit, so values are rounded. Profile and EXIF go along, but for BMP. WebP and AVIF have
    no gray: the three channels are equal, and a profile of gray is applied.

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
    check_target(
        path,
        width=picture.width,
        height=picture.height,
        alpha=picture.alpha is not None,
        jpeg_quality=jpeg_quality,
    )
    if kind in _ROW_WRITERS:
        with open_rows(path, like=picture, width=picture.width, height=picture.height) as writer:
            _write_rows(picture, writer)
        return
    with replacing(path) as file:
        _write_by_pillow(picture, file, kind, jpeg_quality, path)


def takes_rows(path: str | os.PathLike[str]) -> bool:
    """Whether `open_rows` can write the format that a path's ending names."""
    return output_format(path) in _ROW_WRITERS


@contextmanager
def open_rows(
    path: str | os.PathLike[str], *, like: Picture, width: int, height: int
) -> Iterator[PngWriter | TiffWriter]:
    """A PNG or TIFF that is given its rows from top to bottom; it appears when the block ends well.

    Args:
        path: ending in .png, .tif or .tiff.
        like: whose channels, bits, profile and EXIF it gets.
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
        )
        yield writer
        writer.close()


def check_target(
    path: str | os.PathLike[str], *, width: int, height: int, alpha: bool = False, jpeg_quality: int = 95
) -> None:
    """Says before the work what would stop a picture from being written.

    Args:
        path: where it is to go.
        width: px.
        height: px.
        alpha: whether it has transparency.
        jpeg_quality: 1 to 100.

    Raises:
        ImageError: the ending is unknown, the format cannot hold such a picture, the quality is out of range,
            or the place is a folder, a device, write-protected, or in no folder that can be written to.
    """
    path = Path(path)
    kind = output_format(path)
    if alpha and kind in _WITHOUT_ALPHA:
        raise ImageError(
            f"'{path}': the picture has transparency, which {kind} cannot hold; choose .png, .webp or .tif"
        )
    side = max(width, height)
    if side > _LARGEST_SIDE.get(kind, side):
        raise ImageError(
            f"'{path}': {kind} holds at most {_LARGEST_SIDE[kind]} px a side, the picture is "
            f"{width}x{height} px; choose .png or .tif"
        )
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"JPEG quality {jpeg_quality} is out of range; choose 1 to 100")
    _check_place(path)


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


def picture_to_pil(picture: Picture) -> Image.Image:
    """Pillow's picture of modes L, LA, RGB or RGBA, 8 bit, with profile and EXIF in its `info`.

    Args:
        picture: 16-bit values are rounded to 8 bit.
    """
    pixels = eight_bit(picture.pixels)
    image = Image.fromarray(
        pixels if picture.alpha is None else np.dstack([pixels, eight_bit(picture.alpha)])
    )
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
    _check_place(path)
    # a name of its own, so that two runs with one target do not meet; short, as names have a largest length
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"'{path}' cannot be written ({reason}); check permissions and free space"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _check_place(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _check_folder(path)
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"'{path}' cannot be written ({reason}); choose another place") from error
    if stat.S_ISDIR(kind):
        raise ImageError(f"'{path}' is a folder; name a file in it")
    if not stat.S_ISREG(kind):
        raise ImageError(f"'{path}' is a device or a pipe; name a file")
    if not kind & 0o222:
        raise ImageError(f"'{path}' is there and write-protected; choose another place, or unprotect it")
    _check_folder(path)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ImageError(f"'{path}' cannot be written: there is no folder '{path.parent}'; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ImageError(f"'{path}' cannot be written (Permission denied); choose another folder")


def _write_by_pillow(picture: Picture, file: BinaryIO, kind: str, jpeg_quality: int, path: Path) -> None:
    image = picture_to_pil(picture)
    icc = picture.icc
    if kind in _WITHOUT_GRAY and is_gray_profile(icc):
        image, icc = _without_gray(image, icc), None
    encoded = (
        io.BytesIO()
    )  # given the file itself, Pillow does not notice when a full disk takes a part alone
    try:
        image.save(encoded, kind, **_options(kind, icc, picture.exif, jpeg_quality))
    except (ValueError, RuntimeError, OSError) as error:
        raise ImageError(f"'{path}' cannot be written as {kind} ({error}); choose .png") from error
    file.write(encoded.getbuffer())


def _without_gray(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Gray, perhaps with alpha, as sRGB by its profile; as it is where that is damaged."""
    alpha = image.getchannel("A") if image.mode == "LA" else None
    colour = to_srgb(image.getchannel("L"), icc)
    if colour is None:
        return image
    if alpha is not None:
        colour.putalpha(alpha)
    return colour


def _options(kind: str, icc: bytes | None, exif: bytes | None, jpeg_quality: int) -> dict[str, Any]:
    by_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": jpeg_quality, "subsampling": 0 if jpeg_quality >= 90 else 2},
        # `quality` is the effort of lossless WebP: 20 is three times faster than the default at the same size
        "WEBP": {"lossless": True, "exact": True, "quality": 20, "method": 2},
        "AVIF": {"quality": jpeg_quality},
        "BMP": {},
    }
    options = by_format[kind]
    if kind != "BMP":
        options |= {"icc_profile": icc} if icc else {}
        options |= {"exif": exif} if exif else {}
    return options


def _write_rows(picture: Picture, writer: PngWriter | TiffWriter) -> None:
    rows = max(1, (1 << 20) // picture.width)
    for start in range(0, picture.height, rows):
        band = slice(start, start + rows)
        pixels = picture.pixels[band]
        writer.write(pixels if picture.alpha is None else np.dstack([pixels, picture.alpha[band]]))
