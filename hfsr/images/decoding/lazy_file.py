"""File behind an image that Pillow has opened and not decoded yet."""

from __future__ import annotations

from PIL import Image

from hfsr.images.decoding.encoded_image import EncodedImage
from hfsr.images.decoding.opened_image import BROKEN, quiet

__all__ = ["file_of"]

_LOSSY = {"PNG", "TIFF"}
"""Formats of which Pillow loses bits or transparency, or does not scale samples to the range of its mode."""
_DIRECTORIES = (0x8769, 0x8825)  # of EXIF: camera and position


def file_of(image: Image.Image) -> EncodedImage | None:
    """Returns the content of the file, if decoding it gives the same image as Pillow, with all its bits.

    Returns:
        None if there is no file any more, the image is not the first one of the file, the caller has decoded
        or changed it (its metadata too), or Pillow decodes its format without loss.
    """
    file = getattr(image, "fp", None)
    if image.format not in _LOSSY or file is None or not getattr(image, "tile", None) or image.tell() != 0:
        return None
    if image.format == "PNG" and getattr(image, "is_animated", False):
        return None  # refused as a file; a caller who has opened it may want its first frame
    try:
        place = file.tell()
        file.seek(0)
        encoded = EncodedImage.of(file)
        file.seek(place)
        with encoded.open() as again, quiet(), Image.open(again, formats=(image.format,)) as fresh:
            is_same = _content(image) == _content(fresh) and _has_same_exif(image, fresh)
    except BROKEN:
        return None  # Pillow explains the damage when it decodes the image
    return encoded if is_same else None


def _content(image: Image.Image) -> tuple[object, ...]:
    return image.mode, image.size, getattr(image, "tile", None), image.info


def _has_same_exif(image: Image.Image, fresh: Image.Image) -> bool:
    if getattr(image, "_exif", None) is None:
        return True  # never asked for; asking would decode a PNG
    one, other = image.getexif(), fresh.getexif()
    return dict(one) == dict(other) and all(one.get_ifd(tag) == other.get_ifd(tag) for tag in _DIRECTORIES)
