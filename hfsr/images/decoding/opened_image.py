"""Image files opened by Pillow, with hfsr's limits instead of Pillow's, and with clear error messages."""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from hfsr.errors import ImageError
from hfsr.images.decoding.avif_properties import AvifProperties, read_avif_properties
from hfsr.images.decoding.bmp_color import read_bmp_color
from hfsr.images.decoding.encoded_image import EncodedImage
from hfsr.images.decoding.extra_codecs import is_heic, open_heic
from hfsr.images.decoding.high_bit_depth import TIFF_LAYOUTS
from hfsr.images.decoding.jxl_header import JxlHeader, read_jxl_header
from hfsr.images.decoding.png_chunks import PngChunks, read_png_chunks
from hfsr.images.decoding.tiff_layout import (
    TILE_HEIGHT,
    TILE_WIDTH,
    TiffLayout,
    has_tiff_signature,
    read_tiff_layout,
)
from hfsr.images.decoding.tiff_recoding import needs_recoding, recoded, recoded_header
from hfsr.images.decoding.tiff_samples import check_own_decoding, needs_own_decoding, unsupported_layout
from hfsr.images.decoding.unreadable import explain_unreadable
from hfsr.images.formats import FORMATS

__all__ = ["BROKEN", "OpenedImage", "check_size", "limit_lifted", "open_recoded", "opened", "pages", "quiet"]

_LARGEST_TIFF = (1 << 32) - (1 << 24)  # bytes; the offsets of a classic TIFF have 32 bit

BROKEN = (Exception,)
"""Exceptions of Pillow's decoders on broken files. They raise many types (a damaged AVIF RuntimeError), so
any exception while a file is read is treated as an error in that file; `except MemoryError` comes before.
"""


@dataclass(frozen=True)
class OpenedImage:
    """File whose header has been read.

    Attributes:
        image: Pillow's image. With `decodes_tiff`, only its size and its metadata are those of the file.
        tiff: the layout of a TIFF.
        decodes_tiff: True if `tiff_samples` decodes the samples, because Pillow has no mode for them.
        recodes_tiff: True if Pillow decodes the samples of `open_recoded` only. `image` has no samples.
        png: the chunks of a PNG.
        avif: depth and color of an AVIF.
        jxl: header of a JPEG XL. Only size and metadata of `image` are those of the file.
        is_full_depth: True if all bits of its samples are read.
        notes: defects of the file.
        in_memory: True if a caller created the image, or opened and possibly changed it.
    """

    image: Image.Image
    tiff: TiffLayout | None = None
    decodes_tiff: bool = False
    recodes_tiff: bool = False
    in_memory: bool = False
    png: PngChunks | None = None
    avif: AvifProperties | None = None
    jxl: JxlHeader | None = None
    is_full_depth: bool = False
    notes: tuple[str, ...] = ()

    @property
    def pages(self) -> int:
        """The number of images in the file."""
        return pages(self.image) if self.tiff is None else self.tiff.pages


@contextmanager
def opened(path: EncodedImage) -> Iterator[OpenedImage]:
    """Reads the header of a file; Pillow's warnings about damaged EXIF are suppressed.

    Raises:
        ImageError: the file is not an image, or is a TIFF whose samples are not supported.
    """
    # given a name, Pillow would map an uncompressed file into memory, and then not rotate a TIFF upright
    with path.open() as file:
        tiff = read_tiff_layout(file)
        try:
            if tiff is not None:
                found = _open_tiff(file, tiff)
            elif (png := read_png_chunks(file)) is not None:
                found = OpenedImage(_open_by_pillow(png.for_pillow(file)), png=png)
                if png.raw.exif is not None:
                    found.image.info.setdefault("exif", png.raw.exif)
            elif (jxl := read_jxl_header(file)) is not None:
                found = _open_jxl(jxl)
            elif is_heic(file):
                with quiet():
                    found = OpenedImage(open_heic(file), avif=read_avif_properties(file))
            else:
                avif = read_avif_properties(file)
                profile, notes = read_bmp_color(file)
                found = OpenedImage(_open_by_pillow(file), avif=avif, notes=tuple(notes))
                if profile is not None:
                    found.image.info["icc_profile"] = profile
        except ImageError as error:
            raise ImageError(f"'{path}' cannot be read: {error}") from error
        except MemoryError:
            raise ImageError(f"'{path}' does not fit into memory") from None
        except BROKEN as error:
            if has_tiff_signature(file) and (tiff is None or tiff.has_damaged_layout):
                raise ImageError(
                    f"'{path}' is damaged or cut short (a TIFF without a complete directory); "
                    "get the file again"
                ) from error
            raise ImageError(f"'{path}' {explain_unreadable(file, _formats())}") from error
        with found.image:
            yield found


def _open_by_pillow(file: BinaryIO) -> Image.Image:
    with quiet(), _more_tiff_layouts():
        return Image.open(file, formats=_formats())


def _open_jxl(header: JxlHeader) -> OpenedImage:
    """Returns an image of this size and metadata, without pixels."""
    image = _open_by_pillow(io.BytesIO(b"P5 %d %d 255\n" % (header.width, header.height)))
    image.format = "JXL"
    notes = []
    for key, value in (("exif", header.exif), ("xmp", header.xmp)):
        if value:
            image.info[key] = value
    if header.has_profile:
        notes.append("its color profile cannot be read: its colors were interpreted as sRGB")
    if header.has_packed:
        notes.append("its compressed metadata were left out")
    return OpenedImage(image, jxl=header, is_full_depth=True, notes=tuple(notes))


def _open_tiff(file: BinaryIO, tiff: TiffLayout) -> OpenedImage:
    """Opens a TIFF of any byte order and size of offsets.

    Raises:
        ImageError: its samples are not supported.
        OSError: tags that describe the samples lie beyond the end of the file.
    """
    if tiff.has_damaged_layout:
        raise OSError("its directory is not complete")
    tiff.check_samples()
    if needs_recoding(tiff):
        try:
            return OpenedImage(_open_by_pillow(io.BytesIO(recoded_header(tiff))), tiff, recodes_tiff=True)
        except UnidentifiedImageError:
            if not needs_own_decoding(tiff):
                raise unsupported_layout(tiff) from None
    if not needs_own_decoding(tiff):
        # Pillow reads no big-endian BigTIFF, and writes EXIF that no program reads from the tags of a BigTIFF
        source = io.BytesIO(tiff.rewritten({})) if tiff.is_big and tiff.size < _LARGEST_TIFF else file
        try:
            return OpenedImage(_open_by_pillow(source), tiff)
        except BROKEN:
            check_own_decoding(tiff)  # describes the file if neither Pillow nor hfsr has a decoder
    check_own_decoding(tiff)
    return OpenedImage(_open_by_pillow(io.BytesIO(tiff.as_gray())), tiff, decodes_tiff=True)


def open_recoded(tiff: TiffLayout) -> Image.Image:
    """Opens a TIFF of `recodes_tiff` with its samples, and loads it.

    Raises:
        OSError: the data is damaged or truncated.
    """
    image = _open_by_pillow(io.BytesIO(recoded(tiff)))
    image.load()
    return image


def check_size(path: EncodedImage, source: OpenedImage, max_pixels: int) -> None:
    """Raises ImageError for images that are too large to decode, and for animations."""
    image = source.image
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageError(
            f"'{path}' has {image.width}x{image.height} = {pixels:,} px, over the limit of {max_pixels:,}; "
            "raise the limit (--max-pixels) if you trust the file"
        )
    if source.tiff is not None:
        # The decoder allocates a whole tile, however small the image is.
        tile = source.tiff.value(TILE_WIDTH, 0) * source.tiff.value(TILE_HEIGHT, 0)
        if tile > max_pixels:
            raise ImageError(
                f"'{path}' has tiles of {tile:,} px, over the limit of {max_pixels:,}; raise the limit "
                "(--max-pixels) if you trust the file"
            )
    if source.jxl is not None and source.jxl.is_animation:
        raise ImageError(f"'{path}' is an animation, which is not supported; extract the frames first")
    count = source.pages
    if count > 1 and image.format in {"GIF", "PNG", "WEBP", "AVIF"}:
        raise ImageError(
            f"'{path}' is an animation of {count} frames, which is not supported; extract the frames first"
        )


def pages(image: Image.Image) -> int:
    """Returns the number of images in a file."""
    try:
        with quiet():
            return int(getattr(image, "n_frames", 1))
    except BROKEN:
        return 1  # the pages after a damaged one cannot be counted; the first is read, or raises an error


@contextmanager
def _more_tiff_layouts() -> Iterator[None]:
    """Lets Pillow open the layouts that `deep_samples` decodes; only while `quiet` holds its lock."""
    TiffImagePlugin.OPEN_INFO.update(TIFF_LAYOUTS)
    try:
        yield
    finally:
        for layout in TIFF_LAYOUTS:
            del TiffImagePlugin.OPEN_INFO[layout]


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


# --- settings of the whole process ---

_lock = threading.Lock()
_quiet_lock = threading.RLock()
_readers = 0
_saved_limit: int | None = None


@contextmanager
def limit_lifted() -> Iterator[None]:
    """Disables Pillow's size limit, which is global and warns before it raises; hfsr's limit replaces it."""
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
def quiet() -> Iterator[None]:
    """Suppresses Pillow's warnings, one thread at a time, because Python's warning filters are global."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
