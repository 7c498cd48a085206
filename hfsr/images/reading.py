"""Reading of a LoadedImage from a file or from Pillow; every error is one line.

Kept: 8 and 16 bit, gray, alpha, the color profile, EXIF, XMP, IPTC, the resolution. Changed, with an entry in
`LoadedImage.notes`: CMYK and Lab become sRGB, CMYK by its profile; of several pages the first is read. An
animation is refused. CMYK of 16 bit, HEIC of 10 bit and, without imagecodecs, AVIF of 10 or 12 bit are read
as 8 bit.
"""

from __future__ import annotations

import os
import struct
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images.decoding.encoded_image import EncodedImage, ImageFile
from hfsr.images.decoding.extra_codecs import decode_avif, decode_jxl
from hfsr.images.decoding.high_bit_depth import deep_samples, is_deep
from hfsr.images.decoding.jpeg_end import open_without_end
from hfsr.images.decoding.jxl_header import JxlHeader
from hfsr.images.decoding.lazy_file import file_of
from hfsr.images.decoding.opened_image import (
    BROKEN,
    OpenedImage,
    check_size,
    limit_lifted,
    open_recoded,
    opened,
    quiet,
)
from hfsr.images.decoding.pillow_samples import check_tiff_tags, scaled_level, split_channels
from hfsr.images.decoding.tiff_layout import TiffLayout
from hfsr.images.decoding.tiff_pieces import check_complete
from hfsr.images.decoding.tiff_samples import SMALLEST_DIVISOR, read_samples, split_samples
from hfsr.images.formats import has_package, is_image_name
from hfsr.images.linear_light import (
    as_integers,
    check_floats,
    interpretation_notes,
    limited_opacity,
    lost_light_notes,
)
from hfsr.images.loaded_image import LoadedImage
from hfsr.images.metadata.color_profile import is_gray_profile, matching_profile, to_srgb
from hfsr.images.metadata.color_signal import color_chunks
from hfsr.images.metadata.metadata import read_metadata, read_orientation, turned
from hfsr.images.metadata.source_notes import notes_of_source
from hfsr.images.narrow_range import to_full_range

__all__ = [
    "MAX_PIXELS",
    "image_bits",
    "image_from_pil",
    "image_size",
    "list_images",
    "open_image",
    "read_image",
]

_NO_END = "its last bytes are missing, but none of its pixels are"
_IMAGES = "an image is a PIL image, a path, the bytes of an image file, an open binary file, or a numpy array"
MAX_PIXELS = 1 << 28
"""Default limit of width times height: 268 million, 16,384 x 16,384."""


def read_image(
    file: ImageFile, *, max_pixels: int = MAX_PIXELS, truncated: bool = False, floats: bool = False
) -> LoadedImage:
    """Reads one image, upright.

    Args:
        file: a path, the bytes of a file, or an open binary file: PNG, JPEG, WebP, TIFF, BMP, GIF, PNM,
            AVIF, and with optional packages JPEG XL and HEIC; the content decides, not the name.
        max_pixels: width times height above which no image is decoded.
        truncated: True to read the complete rows of a truncated JPEG; a note states which rows are missing.
        floats: True to keep the floating-point samples of a TIFF, which are linear light unless its color
            profile says otherwise; else they are converted to 16 bit, with a note (see `as_integers`).

    Raises:
        ImageError: the file is missing, a folder, empty, not an image, broken, too large, an animation, or
            has samples that are neither 8 nor 16 bit nor floats.
    """
    encoded = EncodedImage.of(file)
    encoded.check()
    with limit_lifted(), opened(encoded) as source:
        opened_image = source.image
        check_size(encoded, source, max_pixels)
        try:
            if source.tiff is not None:
                check_complete(source.tiff)
                if source.decodes_tiff:
                    image = _from_tiff(source, source.tiff)
                    return image if floats else as_integers(image)
                if source.recodes_tiff:
                    return _image(open_recoded(source.tiff), None, source)
            if source.jxl is not None:
                return _from_jxl(source, encoded, source.jxl)
            if source.avif is not None and source.avif.depth > 8:
                return _from_deep_avif(source, encoded, source.avif.depth)
            with opened(encoded) as again, _warnings_suppressed(source):
                deep = deep_samples(opened_image, again.image)
            source = _loaded(encoded, source, truncated=truncated)
            return _image(source.image, deep, source)
        except ImageError as error:
            raise ImageError(f"'{encoded}' cannot be read: {error}") from error
        except MemoryError:
            raise ImageError(
                f"'{encoded}' ({opened_image.width}x{opened_image.height} px) does not fit into memory"
            ) from None
        except BROKEN as error:
            hint = "get the file again"
            if opened_image.format in {"JPEG", "MPO"} and not truncated:
                hint += ", or read the complete rows with --truncated (truncated=True)"
            raise ImageError(f"'{encoded}' is damaged or cut short ({error}); {hint}") from error


def image_size(file: ImageFile, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads width and height in px, upright, from the start of the file only.

    Raises:
        ImageError: see `read_image`, except for errors that only decoding can detect.
    """
    encoded = EncodedImage.of(file)
    encoded.check()
    with limit_lifted(), opened(encoded) as source:
        image = source.image
        check_size(encoded, source, max_pixels)
        # some versions of Pillow already exchange width and height of a TIFF
        tags: Any = getattr(image, "tag_v2", {})
        width, height = tags.get(256, image.width), tags.get(257, image.height)
        return (height, width) if read_orientation(image) >= 5 else (width, height)


def image_bits(file: ImageFile) -> int:
    """Reads the bits per channel, 8 or 16, that `LoadedImage` will have, from the start of the file only.

    Raises:
        ImageError: see `image_size`, except for the size.
    """
    encoded = EncodedImage.of(file)
    encoded.check()
    with limit_lifted(), opened(encoded) as source:
        image = source.image
        if source.tiff is not None and source.decodes_tiff:
            return 16 if max(source.tiff.bits) > 8 else 8
        if source.jxl is not None:
            return 16 if source.jxl.bits > 8 else 8
        if source.avif is not None and image.format == "AVIF" and has_package("imagecodecs"):
            return 16 if source.avif.depth > 8 else 8
        return 16 if image.mode.startswith("I") or is_deep(image) else 8


def open_image(image: Image.Image | ImageFile) -> LoadedImage:
    """Reads an image of Pillow, a path, the bytes of a file, or an open binary file.

    Raises:
        ImageError: `image` is none of these, or cannot be read.
    """
    if isinstance(image, Image.Image):
        return image_from_pil(image)
    return read_image(EncodedImage.of(image, allowed=_IMAGES))


def image_from_pil(image: Image.Image) -> LoadedImage:
    """Converts an image of Pillow, upright.

    A PNG or TIFF that Pillow has opened, and that was neither decoded nor changed since, is read like its
    file. Other images are reduced to what Pillow holds: 8 bit in color, one frame.

    Raises:
        ImageError: the image cannot be decoded, or has samples that are neither 8 nor 16 bit.
    """
    encoded = file_of(image)
    if encoded is not None:
        return read_image(encoded, max_pixels=max(MAX_PIXELS, image.width * image.height))
    try:
        image.load()
        check_tiff_tags(image)
        return _image(image, None, OpenedImage(image, in_memory=True))
    except ImageError:
        raise
    except BROKEN as error:
        raise ImageError(f"the image is damaged or cut short ({error})") from error


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the images directly in a folder, recognized by their suffixes, in the order of their names.

    Raises:
        ImageError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(
            f"'{folder}' is {'not a folder' if folder.exists() else 'not there'}; name a folder of images"
        )
    return sorted(path for path in folder.iterdir() if is_image_name(path) and path.is_file())


def _loaded(encoded: EncodedImage, source: OpenedImage, *, truncated: bool) -> OpenedImage:
    """Decodes the pixels.

    Raises:
        Exception: the file is damaged; Pillow raises various types.
    """
    try:
        with _warnings_suppressed(source):
            source.image.load()
    except OSError:
        found = open_without_end(encoded) if source.image.format in {"JPEG", "MPO"} else None
        if found is None or (found.rows < found.image.height and not truncated):
            raise
        note = _NO_END
        if found.rows < found.image.height:
            note = f"it is cut short: of {found.image.height} rows, only the first {found.rows} are complete"
        return replace(source, image=found.image, notes=(*source.notes, note))
    return source


def _warnings_suppressed(source: OpenedImage) -> AbstractContextManager[None]:
    """Suppresses Pillow's warnings about the tags of a TIFF, which it reads again when it decodes."""
    return nullcontext() if source.tiff is None else quiet()


def _from_tiff(source: OpenedImage, tiff: TiffLayout) -> LoadedImage:
    """Builds a LoadedImage from a TIFF for which Pillow has no mode."""
    pixels, alpha = split_samples(tiff, read_samples(tiff))
    icc = _profile(source)
    notes = []
    if tiff.is_floating:
        notes = [*interpretation_notes(icc), *check_floats(pixels)]
        pixels = np.maximum(pixels, 0)
        if alpha is not None:
            alpha, more = limited_opacity(alpha)
            notes += more
            if tiff.is_premultiplied:
                notes += lost_light_notes(pixels, alpha, SMALLEST_DIVISOR)
    return _assemble(source, pixels, alpha, icc, notes)


def _from_jxl(source: OpenedImage, encoded: EncodedImage, header: JxlHeader) -> LoadedImage:
    if header.is_cmyk:
        raise ImageError("a JPEG XL of CMYK; convert it to RGB")
    samples = decode_jxl(encoded.read_bytes(), header)
    notes = []
    if header.other_channels:
        count = header.other_channels
        notes.append(f"{count} extra channel{'s were' if count > 1 else ' was'} left out")
    if samples.dtype == np.float32:
        kind = "floating-point" if header.is_floating else f"{header.bits}-bit"
        if not np.isfinite(samples).all():
            raise ImageError("its floating-point samples hold NaN or infinite values; replace them first")
        clipped = "; values below 0 or above 1 were clipped" if samples.min() < 0 or samples.max() > 1 else ""
        notes.append(f"its {kind} samples were rounded to 16 bit{clipped}")
        samples = (np.clip(samples, 0, 1) * 65535 + 0.5).astype(np.uint16)
    alpha = samples[..., -1].copy() if header.has_alpha else None
    pixels = samples[..., 0] if header.is_gray else samples[..., :3]
    return _assemble(source, np.ascontiguousarray(pixels), alpha, None, notes)


def _from_deep_avif(source: OpenedImage, encoded: EncodedImage, depth: int) -> LoadedImage:
    """Builds a LoadedImage from an AVIF of more than 8 bit, of which Pillow keeps 8."""
    samples = decode_avif(encoded.read_bytes(), depth) if source.image.format == "AVIF" else None
    if samples is None:
        source.image.load()
        return _image(source.image, None, source)
    return _image(source.image, samples, replace(source, is_full_depth=True))


def _profile(source: OpenedImage) -> bytes | None:
    found = source.image.info.get("icc_profile") if source.png is None else source.png.icc
    return found or None


def _color(source: OpenedImage, icc: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    if source.png is not None:
        return color_chunks(source.png.color, has_profile=icc is not None)
    info, found = source.image.info, {}
    container = source.jxl if source.avif is None else source.avif
    if container is not None and container.color is not None and icc is None:
        found[b"cICP"] = container.color
    if isinstance(gamma := info.get("gamma"), (int, float)) and 0 < gamma < 1000:
        found[b"gAMA"] = struct.pack(">I", round(gamma * 100_000))
    points = info.get("chromaticity")
    if isinstance(points, tuple) and len(points) == 8 and all(0 <= point < 1000 for point in points):
        found[b"cHRM"] = struct.pack(">8I", *(round(point * 100_000) for point in points))
    if "srgb" in info:
        found[b"sRGB"] = b"\0"
    return color_chunks(found, has_profile=icc is not None)


def _widened(key: int | tuple[int, ...], depth: int) -> int | tuple[int, ...]:
    """Scales a transparent sample like Pillow scales the samples of a PNG: fewer than 8 bits to 8."""
    return key * 255 // ((1 << depth) - 1) if isinstance(key, int) and depth < 8 else key


def _image(image: Image.Image, deep: NDArray | None, source: OpenedImage) -> LoadedImage:
    """Builds a LoadedImage from a loaded image and, if Pillow cannot hold them, its 16-bit samples."""
    notes: list[str] = []
    key = image.info.get("transparency")
    if source.png is not None and source.png.key is not None:
        key = _widened(source.png.key, source.png.depth)
    elif source.in_memory and isinstance(key, int) and image.mode == "L":
        key = scaled_level(key, image)
    elif deep is None and isinstance(key, tuple) and max(key) > 255:
        key = tuple(value >> 8 for value in key)
        notes.append("its transparent color was compared in 8 bit, to which Pillow has reduced the image")
    icc = _profile(source)
    if image.mode in {"CMYK", "LAB"}:
        pixels, note = _from_inks(image, icc)
        alpha, icc = None, None
        notes.append(note)
    else:
        pixels, alpha = split_channels(image, deep, key)
    cicp = None if source.png is None else source.png.color.get(b"cICP")
    if source.png is not None and cicp is not None and cicp[3] == 0:
        pixels, note = to_full_range(pixels, alpha)
        source.png.color[b"cICP"] = cicp[:3] + b"\1"
        notes.append(note)
    return _assemble(source, pixels, alpha, icc, notes)


def _assemble(
    source: OpenedImage, pixels: NDArray, alpha: NDArray | None, icc: bytes | None, notes: list[str]
) -> LoadedImage:
    """Rotates the pixels upright and adds the metadata of the image."""
    image = source.image
    metadata = read_metadata(source)
    if is_gray_profile(icc) and pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        # Gray in a palette, or in a format whose decoder has no gray.
        pixels = np.ascontiguousarray(pixels[..., 0])
    icc, mismatch = matching_profile(icc, gray=pixels.ndim == 2)
    return LoadedImage(
        pixels=turned(pixels, metadata.orientation),
        alpha=None if alpha is None else turned(alpha, metadata.orientation),
        icc=icc,
        exif=metadata.exif,
        xmp=metadata.xmp,
        iptc=metadata.iptc,
        dpi=metadata.dpi,
        color=_color(source, icc),
        texts=() if source.png is None else tuple(source.png.texts),
        format="JPEG" if image.format == "MPO" else image.format or "",
        notes=(*notes, *mismatch, *notes_of_source(source, has_profile=icc is not None), *metadata.notes),
    )


def _from_inks(image: Image.Image, icc: bytes | None) -> tuple[NDArray[np.uint8], str]:
    """Converts CMYK or Lab to RGB (H, W, 3); returns it with a note."""
    if image.mode == "LAB":
        return np.array(image.convert("RGB")), "Lab was converted to sRGB"
    converted = to_srgb(image, icc)
    if converted is not None:
        return np.array(converted), "CMYK was converted to sRGB by its color profile"
    why = "its color profile cannot be used" if icc else "it has no color profile"
    return np.array(image.convert("RGB")), f"CMYK was converted to RGB approximately, because {why}"
