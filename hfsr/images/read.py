"""From a file, or from Pillow, to a Picture; whatever goes wrong is one line.

Kept: 8 and 16 bit, gray, alpha, the colour profile, EXIF. Changed, and said in `Picture.notes`: CMYK and Lab
become sRGB, CMYK by its profile; of several pages the first is read. An animation is refused. AVIF of 10 or
12 bit is read as 8 bit.
"""

from __future__ import annotations

import codecs
import functools
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from hfsr.errors import ImageError
from hfsr.images._deep import TIFF_LAYOUTS, deep_samples
from hfsr.images.picture import Picture
from hfsr.images.profile import to_srgb

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "list_pictures",
    "open_picture",
    "picture_from_pil",
    "picture_size",
    "read_picture",
]

MAX_PIXELS = 1 << 28
"""Width times height that is read unless told otherwise: 268 million, 16,384 x 16,384."""

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings of files that are taken for pictures in a folder, lower case."""

# Only plain raster formats: others run programs (EPS), or are guessed from almost nothing (TGA).
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")

# What Pillow's decoders raise on broken files; a Warning is one where warnings are made errors.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError),
    *(struct.error, zlib.error, Warning),
)

_ORIENTATION = 0x0112
# IFD0 tags that say how one TIFF file is laid out (296, the unit of resolution, is no such tag).
_LAYOUT_RANGES = ((254, 266), (273, 273), (277, 279), (284, 284), (290, 301), (317, 347), (512, 532))
_LAYOUT_TAGS = frozenset(tag for first, last in _LAYOUT_RANGES for tag in range(first, last + 1)) - {296}
_BULKY_TAGS = frozenset(
    {700, 33723, 34377, 34675}
)  # XMP, IPTC, Photoshop's own, the profile (kept by itself)


_CAMERA = 0x8769  # EXIF's own directory, and in it the size of the picture it was made for
_SIZE_TAGS = (0xA002, 0xA003)


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads one picture, upright.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP, GIF, PNM or AVIF; what the file is decides, not what it is called.
        max_pixels: width times height above which nothing is decoded.

    Raises:
        ImageError: missing, a folder, empty, no picture, broken, too large, an animation, or of samples that
            are neither 8 nor 16 bit.
    """
    path = Path(path)
    _check_file(path)
    with _pillow_limit_lifted(), _opened(path) as image:
        _check_size(path, image, max_pixels)
        try:
            with _opened(path) as again:
                deep = deep_samples(image, again)
            image.load()
            return _picture(image, deep)
        except ImageError as error:
            raise ImageError(f"'{path}' cannot be read: {error}") from error
        except MemoryError:
            raise ImageError(f"'{path}' ({image.width}x{image.height} px) does not fit into memory") from None
        except _BROKEN as error:
            raise ImageError(f"'{path}' is damaged or cut short ({error}); get the file again") from error


def picture_size(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height in px, upright, from the start of the file alone.

    Raises:
        ImageError: as of `read_picture`, but for what only decoding can tell.
    """
    path = Path(path)
    _check_file(path)
    with _pillow_limit_lifted(), _opened(path) as image:
        _check_size(path, image, max_pixels)
        # of a TIFF, some versions of Pillow turn the size already
        tags: Any = getattr(image, "tag_v2", {})
        width, height = tags.get(256, image.width), tags.get(257, image.height)
        return (height, width) if _exif(image)[0] >= 5 else (width, height)


def open_picture(image: Image.Image | str | Path) -> Picture:
    """What a caller gave in place of a picture: a path, or a picture of Pillow's.

    Raises:
        ImageError: it is neither, or cannot be read.
    """
    if isinstance(image, (str, Path)):
        return read_picture(Path(image))
    if isinstance(image, Image.Image):
        return picture_from_pil(image)
    raise ImageError(f"got {type(image).__name__}; an image is a PIL picture, a path or a numpy array")


def picture_from_pil(image: Image.Image) -> Picture:
    """Pillow's picture as ours, upright; an animation or 16-bit colour is what Pillow holds of it.

    Raises:
        ImageError: it cannot be decoded, or has samples that are neither 8 nor 16 bit.
    """
    try:
        image.load()
        return _picture(image, None)
    except ImageError:
        raise
    except _BROKEN as error:
        raise ImageError(f"the picture is damaged or cut short ({error})") from error


def list_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures that lie directly in a folder, judged by their endings, in the order of their names.

    Raises:
        ImageError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(
            f"'{folder}' is {'not a folder' if folder.exists() else 'not there'}; name a folder of pictures"
        )
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file() and p.name[0] != "."
    )


def _check_file(path: Path) -> None:
    """Says in words what no picture can be read from; opens nothing that could make it wait, like a pipe."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(f"'{path}' is a folder; name a picture in it")
        if not stat.S_ISREG(kind):
            raise ImageError(f"'{path}' is a device or a pipe; name a picture file")
        with path.open("rb") as file:
            start = file.read(1)
    except FileNotFoundError as error:
        raise ImageError(f"'{path}' is not there; check the path") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"{str(path)!r} is no path ({error})") from error
    except OSError as error:
        raise ImageError(f"'{path}' cannot be opened ({error.strerror}); check the path") from error
    if not start:
        raise ImageError(f"'{path}' is empty (0 bytes); get the file again")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file's header, read; Pillow's chatter about damaged EXIF stays inside."""
    # from a name, Pillow would map an uncompressed file into memory, and then forgets to turn a TIFF upright
    with path.open("rb") as file:
        try:
            with _quiet(), _more_tiff_layouts():
                image = Image.open(file, formats=_formats())
        except _BROKEN as error:
            formats = ", ".join(_formats())
            raise ImageError(f"'{path}' is no picture: {_guess(path)}; readable are {formats}") from error
        with image:
            yield image


@contextmanager
def _more_tiff_layouts() -> Iterator[None]:
    """Lets Pillow open what `deep_samples` decodes; only while `_quiet` keeps other threads out."""
    TiffImagePlugin.OPEN_INFO.update(TIFF_LAYOUTS)
    try:
        yield
    finally:
        for layout in TIFF_LAYOUTS:
            del TiffImagePlugin.OPEN_INFO[layout]


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        text = "\0"
    is_text = all(letter.isprintable() or letter.isspace() for letter in text)
    return "it holds text" if is_text else "its format is unknown, or its start is damaged"


def _check_size(path: Path, image: Image.Image, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageError(
            f"'{path}' has {image.width}x{image.height} = {pixels:,} px, over the limit of {max_pixels:,}; "
            "raise the limit (--max-pixels) if you trust the file"
        )
    pages = _pages(image)
    if pages > 1 and image.format in {"GIF", "PNG", "WEBP", "AVIF"}:
        raise ImageError(
            f"'{path}' is an animation of {pages} frames; take the frames out first, pictures stand still"
        )


def _pages(image: Image.Image) -> int:
    try:
        with _quiet():
            return int(getattr(image, "n_frames", 1))
    except _BROKEN:
        return 1  # the pages after a damaged one cannot be counted; the first is read, or fails by itself


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _picture(image: Image.Image, deep: NDArray | None) -> Picture:
    """Makes a Picture of a loaded image (and of its 16-bit samples, where Pillow could not hold them)."""
    notes = []
    icc = image.info.get("icc_profile") or None
    if image.mode in {"CMYK", "LAB"}:
        pixels, note = _from_inks(image, icc)
        alpha, icc = None, None
        notes.append(note)
    else:
        pixels, alpha = _split(image, deep)
    if image.format == "TIFF" and (pages := _pages(image)) > 1:
        notes.append(f"only the first of {pages} pages was read")
    orientation, exif, damaged = _exif(image)
    if damaged:
        notes.append("its EXIF is damaged and was left out")
    return Picture(
        pixels=_turned(pixels, orientation),
        alpha=None if alpha is None else _turned(alpha, orientation),
        icc=icc,
        exif=exif,
        format="JPEG" if image.format == "MPO" else image.format or "",
        notes=tuple(notes),
    )


def _from_inks(image: Image.Image, icc: bytes | None) -> tuple[NDArray[np.uint8], str]:
    """RGB (H, W, 3) of CMYK or Lab, and what to say about it."""
    if image.mode == "LAB":
        return np.array(image.convert("RGB")), "Lab was converted to sRGB"
    converted = to_srgb(image, icc)
    if converted is not None:
        return np.array(converted), "CMYK was converted to sRGB by its colour profile"
    why = "its colour profile cannot be used" if icc else "it has no colour profile"
    return np.array(image.convert("RGB")), f"CMYK was converted to RGB by rule of thumb, as {why}"


def _split(image: Image.Image, deep: NDArray | None) -> tuple[NDArray, NDArray | None]:
    """Colour or gray, and alpha: (H, W, 3) or (H, W), and (H, W)."""
    key = image.info.get("transparency")
    if deep is not None:
        channels = deep.shape[2]
        if channels == 2:
            return deep[..., 0], deep[..., 1]
        if channels == 3 and isinstance(key, tuple):
            return deep, np.where((deep == key).all(-1), 0, 65535).astype(np.uint16)
        return deep[..., :3], deep[..., 3] if channels == 4 else None
    if image.mode.startswith("I"):
        gray = _sixteen_bit(image)
        return gray, np.where(gray == key, 0, 65535).astype(np.uint16) if isinstance(key, int) else None
    if image.mode == "F":
        raise ImageError("its samples are floating-point numbers; convert it to 16-bit integers first")
    gray_kind = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data:
        target = "LA" if gray_kind else "RGBA"
        samples = np.array(image if image.mode == target else image.convert(target))
        return np.ascontiguousarray(samples[..., 0] if gray_kind else samples[..., :3]), samples[
            ..., -1
        ].copy()
    target = "L" if gray_kind else "RGB"
    return np.array(image if image.mode == target else image.convert(target)), None


def _sixteen_bit(image: Image.Image) -> NDArray[np.uint16]:
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"its samples run from {values.min()} to {values.max()}; need 8 or 16 bit unsigned")
    tags: Any = getattr(image, "tag_v2", {})
    gray = values.astype(np.uint16)
    return 65535 - gray if tags.get(262) == 0 else gray  # white is zero: Pillow only minds that in 8 bit


def _exif(image: Image.Image) -> tuple[int, bytes | None, bool]:
    """Orientation (1 to 8), the EXIF to keep, and whether it was too damaged to keep."""
    try:
        with _quiet():
            exif = image.getexif()
            orientation = exif.get(_ORIENTATION, 1)
            for tag in (_LAYOUT_TAGS | _BULKY_TAGS) & set(exif):
                del exif[tag]
            if _ORIENTATION in exif:
                exif[_ORIENTATION] = 1
            if _CAMERA in exif:
                for tag in _SIZE_TAGS:
                    exif.get_ifd(_CAMERA).pop(tag, None)
            kept = exif.tobytes() if len(exif) else None
    except _BROKEN:
        return 1, None, True
    return orientation if orientation in range(1, 9) else 1, kept, False


def _turned(samples: NDArray, orientation: int) -> NDArray:
    """Applies an EXIF orientation to (H, W, ...)."""
    if orientation in {5, 6, 7, 8}:
        samples = samples.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        samples = samples[::-1]
    if orientation in {2, 3, 6, 7}:
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


_lock = threading.Lock()
_quiet_lock = threading.RLock()
_readers = 0
_saved_limit: int | None = None


@contextmanager
def _pillow_limit_lifted() -> Iterator[None]:
    """Our limit stands in for Pillow's, which is one for the whole process and warns before it raises."""
    global _readers, _saved_limit
    with _lock:
        if _readers == 0:
            _saved_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _saved_limit


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back Pillow's warnings, one thread at a time, as Python's filters belong to the whole process."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
