"""XMP of the result: without sizes of the source or parts of the file that are not copied."""

from __future__ import annotations

import re
from xml.parsers import expat

from hfsr.errors import ImageError

__all__ = ["cleaned_xmp"]

_TIFF = b"http://ns.adobe.com/tiff/1.0/"
_EXIF = b"http://ns.adobe.com/exif/1.0/"
_GOOGLE = b"http://ns.google.com/photos/1.0/"
_STALE = {
    _TIFF: (
        *(b"ImageWidth", b"ImageLength", b"BitsPerSample", b"Compression", b"PhotometricInterpretation"),
        *(b"SamplesPerPixel", b"PlanarConfiguration", b"YCbCrSubSampling", b"YCbCrPositioning"),
    ),
    _EXIF: (
        *(b"PixelXDimension", b"PixelYDimension", b"SubjectArea", b"SubjectLocation", b"RelatedSoundFile"),
        *(b"FocalPlaneXResolution", b"FocalPlaneYResolution", b"FocalPlaneResolutionUnit"),
    ),
    b"http://ns.adobe.com/xap/1.0/": (b"Thumbnails",),
}
"""Names that do not apply to the result, by namespace; they are removed without a note."""

_GAIN_MAP = "its HDR gain map was left out: the result has the standard dynamic range"
_VIDEO = "the video of its motion photo was left out"
_DEPTH = "the depth map, sound or second image that its XMP describes was left out"
_PARTS: tuple[tuple[bytes, bytes, str | None], ...] = (
    (b"http://ns.adobe.com/hdr-gain-map/1.0/", rb"[\w.-]+", _GAIN_MAP),
    (b"http://ns.apple.com/HDRGainMap/1.0/", rb"[\w.-]+", _GAIN_MAP),
    (b"http://ns.apple.com/pixeldatainfo/1.0/", rb"[\w.-]+", None),
    (_GOOGLE + b"camera/", rb"(?:MotionPhoto|MicroVideo)[\w.-]*", _VIDEO),
    (_GOOGLE + b"container/", rb"[\w.-]+", None),
    (_GOOGLE + b"container/item/", rb"[\w.-]+", None),
    (_GOOGLE + b"depthmap/", rb"[\w.-]+", _DEPTH),
    (_GOOGLE + b"image/", rb"[\w.-]+", _DEPTH),
    (_GOOGLE + b"audio/", rb"[\w.-]+", _DEPTH),
    (_GOOGLE + b"focus/", rb"[\w.-]+", None),
    (
        _GOOGLE + b"panorama/",
        rb"[\w.-]+",
        "its panorama data (GPano) was left out: it is in px of the source",
    ),
    (b"http://ns.adobe.com/xmp/note/", b"HasExtendedXMP", "the second part of its XMP was left out"),
)
"""Namespace, names and note of entries that describe a part of the file that is not in the result."""

_REGIONS = (
    (b"http://www.metadataworkinggroup.com/schemas/regions/", b"Regions"),
    (b"http://ns.microsoft.com/photo/1.2/", b"RegionInfo"),
)
"""Rectangles of faces, relative to the stored image: they are valid unless it is rotated."""


def cleaned_xmp(packet: bytes, *, is_turned: bool) -> tuple[bytes, list[str]]:
    """Adapts a packet to the upright result; returns it with notes of the entries that were left out.

    Args:
        packet: the packet of the file.
        is_turned: True if the pixels were rotated or mirrored.

    Raises:
        UnicodeDecodeError: the packet is not UTF-8, which all formats except TIFF require.
        ImageError: the packet is not well-formed, before or after the changes.
    """
    packet.decode()
    _check(packet)
    notes = []
    for space, names in _STALE.items():
        packet, _ = _without(packet, space, b"(?:" + b"|".join(names) + b")")
    for space, pattern, note in _PARTS:
        packet, found = _without(packet, space, pattern)
        if found and note is not None:
            notes.append(note)
    for space, pattern in _REGIONS if is_turned else ():
        packet, found = _without(packet, space, pattern)
        if found:
            notes.append("its face regions were left out, because the image was rotated")
    for prefix in _prefixes(packet, _TIFF):
        name = re.escape(prefix) + b":Orientation"
        packet = re.sub(rb"(\s" + name + rb"\s*=\s*[\"'])[^\"']*", rb"\g<1>1", packet)
        packet = re.sub(rb"(<" + name + rb"\b[^>]*>)[^<]*", rb"\g<1>1", packet)
    _check(packet)
    return packet, list(dict.fromkeys(notes))


def _without(packet: bytes, space: bytes, pattern: bytes) -> tuple[bytes, int]:
    """Removes the attributes and elements of a namespace whose names match; returns their number too."""
    count = 0
    for prefix in _prefixes(packet, space):
        name = re.escape(prefix) + b":(" + pattern + b")"
        packet, attributes = re.subn(rb"\s+" + name + rb"\s*=\s*(\"[^\"]*\"|'[^']*')", b"", packet)
        element = rb"<" + name + rb"(?:\s[^>]*?)?(?:/>|>.*?</" + re.escape(prefix) + rb":\1\s*>)\s*"
        packet, elements = re.subn(element, b"", packet, flags=re.DOTALL)
        count += attributes + elements
    return packet, count


def _prefixes(packet: bytes, space: bytes) -> set[bytes]:
    """Returns the prefixes with which a packet declares a namespace: mostly "tiff", "exif", "xmpNote"."""
    return set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(space) + rb"[\"']", packet))


def _check(packet: bytes) -> None:
    parser = expat.ParserCreate("UTF-8")
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(packet, True)
    except expat.ExpatError as error:
        raise ImageError(f"its XMP is not well-formed ({error})") from error


def _refuse_entities(*_: object) -> None:
    raise ImageError("its XMP declares entities")
