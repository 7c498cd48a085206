"""Header of a JPEG XL: size, depth and color of the image, and its metadata (ISO/IEC 18181)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from hfsr.images.decoding.avif_properties import boxes

__all__ = ["JxlHeader", "read_jxl_header"]

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_LIMIT = 1 << 26  # bytes that are searched for boxes

_RATIOS = (None, *(Fraction(*pair) for pair in ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))))
_SIZE = ((1, 9), (1, 13), (1, 18), (1, 30))  # offset and bits
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_CUSTOM_XY = ((0, 19), (524288, 19), (1048576, 20), (2097152, 21))
_XYB, _GRAY, _D65, _CUSTOM = 2, 1, 1, 2
_SRGB = (1, 13)  # primaries and transfer
_ALPHA, _SPOT_COLOR, _BLACK, _COLOR_FILTER = 0, 2, 4, 5


@dataclass(frozen=True)
class JxlHeader:
    """Properties of a JPEG XL that a pixel decoder does not report.

    Attributes:
        width, height: px, upright: decoders rotate the image.
        bits: bits per sample.
        is_floating: True if its samples are floats.
        is_animation: True if there are several frames.
        is_lossy: True for lossy encoding, and for a JPEG that was repacked without loss.
        color: data of a cICP chunk of PNG; None for sRGB.
        has_profile: True if a color profile, or custom primaries, define the colors.
        exif: EXIF with its "Exif" prefix.
        xmp: an XMP packet.
        has_packed: True if there is metadata compressed by Brotli.
        is_gray: True if there is one channel besides alpha and other extra channels.
        has_alpha: True if one of the extra channels is alpha.
        is_premultiplied: True if the colors are multiplied by alpha.
        other_channels: number of extra channels that are not the first alpha.
        is_cmyk: True if one of the extra channels is black ink.
    """

    width: int
    height: int
    bits: int = 8
    is_floating: bool = False
    is_animation: bool = False
    is_lossy: bool = True
    color: bytes | None = None
    has_profile: bool = False
    exif: bytes | None = None
    xmp: bytes | None = None
    has_packed: bool = False
    is_gray: bool = False
    has_alpha: bool = False
    is_premultiplied: bool = False
    other_channels: int = 0
    is_cmyk: bool = False


def read_jxl_header(file: BinaryIO) -> JxlHeader | None:
    """Reads the header; returns None if the file is not a JPEG XL.

    Args:
        file: file open for reading.

    Raises:
        EOFError: the header is truncated.
    """
    file.seek(0)
    start = file.read(len(_CONTAINER))
    file.seek(0)
    if start.startswith(_CODESTREAM):
        return _codestream(file.read(1 << 12))
    if start != _CONTAINER:
        return None
    data = file.read(_LIMIT)
    file.seek(0)
    codestream = b""
    found: dict[bytes, bytes] = {}
    for kind, body in boxes(data):
        if kind in (b"jxlc", b"jxlp") and not codestream:
            codestream = body[4 * (kind == b"jxlp") :][: 1 << 12]
        found.setdefault(kind, body)
    header = _codestream(codestream)
    exif = found.get(b"Exif", b"")
    offset = 4 + int.from_bytes(exif[:4], "big")
    return JxlHeader(
        **{
            **vars(header),
            "is_lossy": header.is_lossy or b"jbrd" in found,
            "exif": b"Exif\0\0" + exif[offset:] if len(exif) > offset else None,
            "xmp": found.get(b"xml ") or None,
            "has_packed": b"brob" in found,
        }
    )


class _Bits:
    """Reader of integers with any number of bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError("its header is truncated")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *kinds: tuple[int, int]) -> int:
        """Reads one of four kinds of integers, each given by its offset and bits."""
        offset, bits = kinds[self.take(2)]
        return offset + self.take(bits)


def _codestream(data: bytes) -> JxlHeader:
    if not data.startswith(_CODESTREAM):
        raise EOFError("it holds no image")
    bits = _Bits(data[2:])
    width, height = _size(bits)
    if bits.flag():  # all following fields have their defaults
        return JxlHeader(width, height)
    if bits.flag():
        orientation = 1 + bits.take(3)
        if orientation >= 5:
            width, height = height, width
        if bits.flag():
            _size(bits)
        if bits.flag():
            _skip_preview(bits)
        if bits.flag():
            return JxlHeader(width, height, is_animation=True)
    is_floating, depth = _depth(bits)
    bits.flag()  # 16 bit suffice for modular buffers
    count = bits.choice((0, 0), (1, 0), (2, 4), (1, 12))
    extra = [_extra_channel(bits) for _ in range(count)]
    alphas = [is_premultiplied for kind, is_premultiplied in extra if kind == _ALPHA]
    is_lossy = bits.flag()  # encoded in XYB
    is_gray, color, has_profile = _color(bits)
    return JxlHeader(
        width,
        height,
        bits=depth,
        is_floating=is_floating,
        is_lossy=is_lossy,
        color=color,
        has_profile=has_profile,
        is_gray=is_gray,
        has_alpha=bool(alphas),
        is_premultiplied=bool(alphas) and alphas[0],
        other_channels=count - bool(alphas),
        is_cmyk=any(kind == _BLACK for kind, _ in extra),
    )


def _size(bits: _Bits) -> tuple[int, int]:
    """Reads width and height."""
    is_small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if is_small else bits.choice(*_SIZE)

    height = side()
    ratio = _RATIOS[bits.take(3)]
    return (side() if ratio is None else int(height * ratio)), height


def _skip_preview(bits: _Bits) -> None:
    kinds = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.flag() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choice(*kinds)
    if bits.take(3) == 0:
        bits.choice(*kinds)


def _depth(bits: _Bits) -> tuple[bool, int]:
    if not bits.flag():
        return False, bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)
    return True, depth


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Reads the kind of an extra channel, and True if it is alpha by which the colors are multiplied."""
    if bits.flag():  # 8 bit
        return _ALPHA, False
    kind = bits.choice(*_ENUM)
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    if kind == _SPOT_COLOR:
        bits.take(4 * 16)
    elif kind == _COLOR_FILTER:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, kind == _ALPHA and bits.flag()


def _color(bits: _Bits) -> tuple[bool, bytes | None, bool]:
    """Reads the color of the image.

    Returns:
        True for gray; the data of a cICP chunk; True if that does not describe the colors.
    """
    if bits.flag():
        return False, None, False
    has_profile, space = bits.flag(), bits.choice(*_ENUM)
    is_gray = space == _GRAY
    if has_profile or space == _XYB:
        return is_gray, None, True
    is_custom, primaries = False, 1
    if (white := bits.choice(*_ENUM)) == _CUSTOM:
        _skip_points(bits, 1)
    is_custom |= white != _D65
    if not is_gray and (primaries := bits.choice(*_ENUM)) == _CUSTOM:
        is_custom = True
        _skip_points(bits, 3)
    if bits.flag():
        bits.take(24)  # a gamma
        return is_gray, None, True
    transfer = bits.choice(*_ENUM)
    if is_custom or transfer == _CUSTOM:
        return is_gray, None, True
    cicp = None if (primaries, transfer) == _SRGB else bytes([primaries, transfer, 0, 1])
    return is_gray, cicp, False


def _skip_points(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choice(*_CUSTOM_XY)
