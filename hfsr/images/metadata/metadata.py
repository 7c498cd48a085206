"""Metadata beside the pixels: EXIF, XMP, IPTC and the resolution, adapted to the upright image.

Entries that are wrong for the result are removed: the layout of the file, the size of the image, and its
orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images.decoding.opened_image import BROKEN, OpenedImage, quiet
from hfsr.images.metadata.exif import parse_exif, read_exif, rebuilt_exif
from hfsr.images.metadata.xmp import cleaned_xmp

__all__ = ["Metadata", "read_metadata", "read_orientation", "turned"]

_ORIENTATION = 0x0112
_WIDTH_TAG, _XMP_TAG, _IPTC_TAG = 256, 700, 33723

_IPTC_RESOURCE = 0x0404  # among Photoshop's resources, in a JPEG
_MOST_DPI = 65535  # the maximum of a JPEG


@dataclass(frozen=True)
class Metadata:
    """Metadata that a file states about its image; None for missing entries.

    Attributes:
        orientation: 1 to 8, the rotation and mirroring of the stored pixels (see `turned`).
        exif: EXIF with its "Exif" prefix, without layout tags, Orientation 1.
        xmp: an XMP packet, UTF-8.
        iptc: IPTC-IIM records.
        dpi: horizontal and vertical px per inch.
        notes: omissions, for the user.
    """

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def read_metadata(source: OpenedImage) -> Metadata:
    """Reads the metadata of an image, adapted to its upright pixels."""
    image = source.image
    notes: list[str] = []
    orientation, exif = read_orientation(image), None
    try:
        with quiet():
            exif, notes = _exif(source, orientation)
    except BROKEN:
        notes.append("its EXIF is damaged and was left out")
    xmp = _xmp(image) if source.png is None or source.png.xmp is None else source.png.xmp
    if xmp:
        try:
            xmp, more = cleaned_xmp(xmp, is_turned=orientation != 1)
            notes += more
        except UnicodeDecodeError:
            xmp = None
            notes.append("its XMP is not UTF-8 and was left out")
        except ImageError:
            xmp = None
            notes.append("its XMP is damaged and was left out")
    notes += _other_images(image)
    iptc = _iptc(image) if source.png is None else source.png.raw.iptc
    return Metadata(orientation, exif, xmp or None, iptc, _dpi(image, orientation), tuple(notes))


def read_orientation(image: Image.Image) -> int:
    """Returns the orientation, 1 to 8, of the stored pixels; the image need not be loaded."""
    if image.format in ("JXL", "HEIF"):
        return 1  # their decoders rotate the pixels, whatever EXIF states
    try:
        with quiet():
            return _orientation(image.getexif())
    except BROKEN:
        return 1


def turned(samples: NDArray, orientation: int) -> NDArray:
    """Applies an EXIF orientation to (H, W, ...)."""
    if orientation in {5, 6, 7, 8}:
        samples = samples.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        samples = samples[::-1]
    if orientation in {2, 3, 6, 7}:
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _orientation(exif: Image.Exif) -> int:
    orientation = exif.get(_ORIENTATION, 1)  # Pillow reads XMP if EXIF has none
    return orientation if orientation in range(1, 9) else 1


def _exif(source: OpenedImage, orientation: int) -> tuple[bytes | None, list[str]]:
    """Returns EXIF of the result, and notes of the tags that were left out."""
    image = source.image
    block = image.info.get("exif")
    if source.tiff is not None:
        tags = read_exif(source.tiff)
    elif isinstance(block, bytes) and not source.in_memory:
        tags = parse_exif(block)
    elif len(exif := image.getexif()):  # possibly changed by a caller, or in an older PNG chunk
        if getattr(exif, "bigtiff", False):
            exif.bigtiff = False  # Pillow would write a header that is not valid in EXIF
        tags = parse_exif(exif.tobytes())
    else:
        return None, []
    return rebuilt_exif(tags, sideways=_is_sideways(image, orientation))


def _xmp(image: Image.Image) -> bytes | None:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or _tiff_tag(image, _XMP_TAG)
    if isinstance(packet, str):
        return packet.encode()
    return packet.rstrip(b"\0") if isinstance(packet, bytes) else None


def _other_images(image: Image.Image) -> list[str]:
    """Returns notes of further images in a JPEG, except previews of the first one."""
    if image.format != "MPO":
        return []
    entries = getattr(image, "mpinfo", {}).get(0xB002, [])[1:]
    previews = sum(str(each["Attribute"]["MPType"]).startswith("Large Thumbnail") for each in entries)
    count = len(entries) - previews
    return [f"only the first of {count + 1} images was read"] if count > 0 else []


def _iptc(image: Image.Image) -> bytes | None:
    records: Any = image.info.get("photoshop")
    found = records.get(_IPTC_RESOURCE) if isinstance(records, dict) else _tiff_tag(image, _IPTC_TAG)
    return found if isinstance(found, bytes) and found[:1] == b"\x1c" else None


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    with quiet():
        found = getattr(image, "tag_v2", {}).get(tag)
    return found[0] if isinstance(found, tuple) and len(found) == 1 else found


def _is_sideways(image: Image.Image, orientation: int) -> bool:
    """Returns True if width and height were exchanged; some versions of Pillow do so for TIFF, unrecorded."""
    return orientation >= 5 or (_tiff_tag(image, _WIDTH_TAG) or image.width) != image.width


def _dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    if image.format in {"JPEG", "MPO"} and image.info.get("jfif_unit") not in (1, 2):
        return None  # the value comes from EXIF, which keeps it, or is a guess by Pillow
    try:
        across, down = map(float, image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < across <= _MOST_DPI and 0 < down <= _MOST_DPI):
        return None
    return (down, across) if _is_sideways(image, orientation) else (across, down)
