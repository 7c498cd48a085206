"""What travels beside the pixels: EXIF, XMP, IPTC and the resolution, made to hold for the upright picture.

What would lie about the result is taken out: how the file was laid out, how large the picture was, and that
it has to be turned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hfsr.images._opening import BROKEN, quiet

__all__ = ["Metadata", "read_metadata", "read_orientation", "turned"]

_ORIENTATION = 0x0112
_RESOLUTIONS = (282, 283)  # across and down
# IFD0 tags that say how one TIFF file is laid out (296, the unit of resolution, is no such tag).
_LAYOUT_RANGES = ((254, 266), (273, 273), (277, 279), (284, 284), (290, 301), (317, 347), (512, 532))
_LAYOUT_TAGS = frozenset(tag for first, last in _LAYOUT_RANGES for tag in range(first, last + 1)) - {296}
_WIDTH_TAG, _XMP_TAG, _IPTC_TAG = 256, 700, 33723
_KEPT_APART = frozenset({_XMP_TAG, _IPTC_TAG, 34377, 34675})  # with Photoshop's own and the profile
_CAMERA = 0x8769  # EXIF's own directory, and in it the size of the picture it was made for
_SIZE_TAGS = (0xA002, 0xA003)

_IPTC_RESOURCE = 0x0404  # among Photoshop's, in a JPEG
_MOST_DPI = 65535  # what a JPEG has room for

_TIFF_SPACE = b"http://ns.adobe.com/tiff/1.0/"
_STALE = {
    _TIFF_SPACE: (b"ImageWidth", b"ImageLength"),
    b"http://ns.adobe.com/exif/1.0/": (b"PixelXDimension", b"PixelYDimension"),
    b"http://ns.adobe.com/xmp/note/": (b"HasExtendedXMP",),
}
"""Words of XMP, by the name of their space, that do not hold of the result: its size, and a second part."""


@dataclass(frozen=True)
class Metadata:
    """What a file tells of its picture; None where it tells nothing.

    Attributes:
        orientation: 1 to 8, how the stored pixels are to be turned (see `turned`).
        exif: as Pillow writes it, without layout tags, Orientation 1.
        xmp: an XMP packet, UTF-8.
        iptc: IPTC-IIM records.
        dpi: px per inch across and down.
        notes: what was left out, in words for the user.
    """

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def read_metadata(image: Image.Image) -> Metadata:
    """What travels beside the pixels of a loaded picture, as it holds once they are upright."""
    notes = []
    try:
        with quiet():
            orientation, exif = _exif(image)
    except BROKEN:
        orientation, exif = 1, None
        notes.append("its EXIF is damaged and was left out")
    xmp = _xmp(image)
    try:
        upright = xmp and _upright(xmp)
    except UnicodeDecodeError:
        upright = None
        notes.append("its XMP is not UTF-8 and was left out")
    return Metadata(orientation, exif, upright or None, _iptc(image), _dpi(image, orientation), tuple(notes))


def read_orientation(image: Image.Image) -> int:
    """1 to 8, how the stored pixels are to be turned; the picture need not be loaded."""
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
    orientation = exif.get(_ORIENTATION, 1)  # Pillow looks into XMP where EXIF tells none
    return orientation if orientation in range(1, 9) else 1


def _exif(image: Image.Image) -> tuple[int, bytes | None]:
    """Orientation, and the EXIF to keep."""
    exif = image.getexif()
    orientation = _orientation(exif)
    for tag in (_LAYOUT_TAGS | _KEPT_APART) & set(exif):
        del exif[tag]
    if _ORIENTATION in exif:
        exif[_ORIENTATION] = 1
    across, down = _RESOLUTIONS
    if _is_sideways(image, orientation) and across in exif and down in exif:
        exif[across], exif[down] = exif[down], exif[across]
    if _CAMERA in exif:
        for tag in _SIZE_TAGS:
            exif.get_ifd(_CAMERA).pop(tag, None)
    return orientation, exif.tobytes() if len(exif) else None


def _xmp(image: Image.Image) -> bytes | None:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or _tiff_tag(image, _XMP_TAG)
    if isinstance(packet, str):
        return packet.encode()
    return packet.rstrip(b"\0") if isinstance(packet, bytes) else None


def _upright(xmp: bytes) -> bytes:
    """An XMP packet in which the picture need not be turned, and has no size.

    Raises:
        UnicodeDecodeError: it is not UTF-8, as all formats but TIFF want it.
    """
    xmp.decode()
    for space, names in _STALE.items():
        for prefix in _prefixes(xmp, space):
            for name in names:
                word = re.escape(prefix) + b":" + name
                xmp = re.sub(rb"\s+" + word + rb"\s*=\s*(\"[^\"]*\"|'[^']*')", b"", xmp)
                xmp = re.sub(rb"<" + word + rb"\b[^>]*>[^<]*</" + word + rb"\s*>\s*", b"", xmp)
    for prefix in _prefixes(xmp, _TIFF_SPACE):
        word = re.escape(prefix) + b":Orientation"
        xmp = re.sub(rb"(\s" + word + rb"\s*=\s*[\"'])[^\"']*", rb"\g<1>1", xmp)
        xmp = re.sub(rb"(<" + word + rb"\b[^>]*>)[^<]*", rb"\g<1>1", xmp)
    return xmp


def _prefixes(xmp: bytes, space: bytes) -> set[bytes]:
    """What the words of a space begin with in a packet: mostly "tiff", "exif", "xmpNote"."""
    return set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(space) + rb"[\"']", xmp))


def _iptc(image: Image.Image) -> bytes | None:
    records: Any = image.info.get("photoshop")
    found = records.get(_IPTC_RESOURCE) if isinstance(records, dict) else _tiff_tag(image, _IPTC_TAG)
    return found if isinstance(found, bytes) and found[:1] == b"\x1c" else None


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    with quiet():
        found = getattr(image, "tag_v2", {}).get(tag)
    return found[0] if isinstance(found, tuple) and len(found) == 1 else found


def _is_sideways(image: Image.Image, orientation: int) -> bool:
    """Whether width and height were exchanged; some versions of Pillow do it to a TIFF, and forget why."""
    return orientation >= 5 or (_tiff_tag(image, _WIDTH_TAG) or image.width) != image.width


def _dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    if image.format in {"JPEG", "MPO"} and image.info.get("jfif_unit") not in (1, 2):
        return None  # EXIF's, which stays there, or a guess of Pillow's
    try:
        across, down = map(float, image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < across <= _MOST_DPI and 0 < down <= _MOST_DPI):
        return None
    return (down, across) if _is_sideways(image, orientation) else (across, down)
