"""An image's file, opened by Pillow: by our limits and not its own, with what is wrong said in words."""

from __future__ import annotations

import codecs
import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, TiffImagePlugin

from hfsr.errors import ImageError
from hfsr.images.decoding.avif_properties import AvifProperties, read_avif_properties
from hfsr.images.decoding.bmp_color import read_bmp_color
from hfsr.images.decoding.encoded_image import EncodedImage
from hfsr.images.decoding.extra_codecs import is_heic, open_heic
from hfsr.images.decoding.high_bit_depth import TIFF_LAYOUTS
from hfsr.images.decoding.jxl_header import JxlHeader, read_jxl_header
from hfsr.images.decoding.png_chunks import PngChunks, read_png_chunks
from hfsr.images.decoding.tiff_layout import TiffLayout, read_tiff_layout
from hfsr.images.decoding.tiff_samples import check_own_decoding, needs_own_decoding
from hfsr.images.formats import FORMATS

__all__ = ["BROKEN", "OpenedImage", "check_size", "limit_lifted", "opened", "pages", "quiet"]

_LARGEST_TIFF = (1 << 32) - (1 << 24)  # bytes; the offsets of a classic TIFF have 32 bit

BROKEN = (Exception,)
"""What Pillow's decoders raise on broken files. They raise nearly anything (a damaged AVIF RuntimeError), so
whatever is raised while a file is read is that file's error; `except MemoryError` comes before.
"""


@dataclass(frozen=True)
class OpenedImage:
    """A file whose header is read.

    Attributes:
        image: Pillow's image. With `decodes_tiff`, only its size and its metadata are the file's.
        tiff: the layout of a TIFF.
        decodes_tiff: the samples are decoded by `tiff_samples`, as Pillow has no mode for them.
        png: the chunks of a PNG.
        avif: depth and color of an AVIF.
        jxl: header of a JPEG XL. Only size and metadata of `image` are the file's.
        is_full_depth: all bits of its samples are read.
        notes: what was wrong with the file.
        in_memory: a caller made the image, or opened and perhaps changed it.
    """

    image: Image.Image
    tiff: TiffLayout | None = None
    decodes_tiff: bool = False
    in_memory: bool = False
    png: PngChunks | None = None
    avif: AvifProperties | None = None
    jxl: JxlHeader | None = None
    is_full_depth: bool = False
    notes: tuple[str, ...] = ()

    @property
    def pages(self) -> int:
        """Images that the file holds."""
        return pages(self.image) if self.tiff is None else self.tiff.pages


@contextmanager
def opened(path: EncodedImage) -> Iterator[OpenedImage]:
    """Reads the header of a file; Pillow's warnings about damaged EXIF are suppressed.

    Raises:
        ImageError: it is no image, or a TIFF whose samples are not supported.
    """
    # from a name, Pillow would map an uncompressed file into memory, and then forgets to turn a TIFF upright
    with path.open() as file:
        tiff = read_tiff_layout(file)
        try:
            if tiff is not None:
                found = _open_tiff(file, tiff)
            elif (png := read_png_chunks(file)) is not None:
                found = OpenedImage(_open_by_pillow(png.for_pillow(file)), png=png)
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
            formats = ", ".join(_formats())
            raise ImageError(f"'{path}' is no image: {_guess(path)}; readable are {formats}") from error
        with found.image:
            yield found


def _open_by_pillow(file: BinaryIO) -> Image.Image:
    with quiet(), _more_tiff_layouts():
        return Image.open(file, formats=_formats())


def _open_jxl(header: JxlHeader) -> OpenedImage:
    """An image of this size and metadata, whose pixels are not there."""
    image = _open_by_pillow(io.BytesIO(b"P5 %d %d 255\n" % (header.width, header.height)))
    image.format = "JXL"
    notes = []
    for key, value in (("exif", header.exif), ("xmp", header.xmp)):
        if value:
            image.info[key] = value
    if header.has_profile:
        notes.append("its color profile cannot be read: its colors were taken as sRGB")
    if header.has_packed:
        notes.append("its compressed metadata were left out")
    return OpenedImage(image, jxl=header, is_full_depth=True, notes=tuple(notes))


def _open_tiff(file: BinaryIO, tiff: TiffLayout) -> OpenedImage:
    """Opens a TIFF of any byte order and size of offsets.

    Raises:
        ImageError: its samples are not supported.
    """
    tiff.check_samples()
    if not needs_own_decoding(tiff):
        # Pillow reads no big-endian BigTIFF, and makes EXIF of every BigTIFF's tags that no program reads
        source = io.BytesIO(tiff.rewritten({})) if tiff.is_big and tiff.size < _LARGEST_TIFF else file
        try:
            return OpenedImage(_open_by_pillow(source), tiff)
        except BROKEN:
            check_own_decoding(tiff)  # says what the file is where neither Pillow nor hfsr has a decoder
    check_own_decoding(tiff)
    return OpenedImage(_open_by_pillow(io.BytesIO(tiff.as_gray())), tiff, decodes_tiff=True)


def check_size(path: EncodedImage, source: OpenedImage, max_pixels: int) -> None:
    """Refuses what is too large to decode, and what moves."""
    image = source.image
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageError(
            f"'{path}' has {image.width}x{image.height} = {pixels:,} px, over the limit of {max_pixels:,}; "
            "raise the limit (--max-pixels) if you trust the file"
        )
    if source.jxl is not None and source.jxl.is_animation:
        raise ImageError(f"'{path}' is an animation; take the frames out first, images stand still")
    count = source.pages
    if count > 1 and image.format in {"GIF", "PNG", "WEBP", "AVIF"}:
        raise ImageError(
            f"'{path}' is an animation of {count} frames; take the frames out first, images stand still"
        )


def pages(image: Image.Image) -> int:
    """How many images a file holds."""
    try:
        with quiet():
            return int(getattr(image, "n_frames", 1))
    except BROKEN:
        return 1  # the pages after a damaged one cannot be counted; the first is read, or fails by itself


@contextmanager
def _more_tiff_layouts() -> Iterator[None]:
    """Lets Pillow open what `deep_samples` decodes; only while `quiet` keeps other threads out."""
    TiffImagePlugin.OPEN_INFO.update(TIFF_LAYOUTS)
    try:
        yield
    finally:
        for layout in TIFF_LAYOUTS:
            del TiffImagePlugin.OPEN_INFO[layout]


def _guess(path: EncodedImage) -> str:
    with path.open() as file:
        start = file.read(512)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        text = "\0"
    is_text = all(letter.isprintable() or letter.isspace() for letter in text)
    return "it holds text" if is_text else "its format is unknown, or its start is damaged"


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


# --- what belongs to the whole process ---

_lock = threading.Lock()
_quiet_lock = threading.RLock()
_readers = 0
_saved_limit: int | None = None


@contextmanager
def limit_lifted() -> Iterator[None]:
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
def quiet() -> Iterator[None]:
    """Holds back Pillow's warnings, one thread at a time, as Python's filters belong to the whole process."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
