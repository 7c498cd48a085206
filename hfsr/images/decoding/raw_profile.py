"""Metadata that ImageMagick writes into a PNG as hexadecimal text ("Raw profile type xmp")."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

__all__ = ["RAW_PROFILE", "RawProfiles"]

RAW_PROFILE = b"Raw profile type "
"""Prefix of the keyword of such a text."""
_TEXT = re.compile(rb"\n([^\n]*)\n\s*(\d{1,9})\n([0-9A-Fa-f\s]*)")
"""Name, number of bytes, and the bytes."""
_EXIF = b"Exif\0\0"
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP_IN_JPEG = b"Photoshop 3.0\0"
_IPTC_RESOURCE = 0x0404


@dataclass
class RawProfiles:
    """Content of such texts; None for missing entries.

    Attributes:
        exif: EXIF, with or without its prefix.
        xmp: an XMP packet.
        iptc: IPTC-IIM records.
        icc: a color profile.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    icc: bytes | None = None

    def add(self, kind: str, text: bytes) -> str | None:
        """Adds a text; returns a note if it cannot be used.

        Args:
            kind: end of its keyword: exif, APP1, xmp, iptc, 8bim, icc or icm.
            text: the text, decompressed.
        """
        found = _TEXT.match(text)
        data = bytes.fromhex(found[3].decode()) if found and _has_whole_bytes(found[3]) else b""
        if found is None or not data or len(data) < int(found[2]):
            return f"its raw profile '{kind}' is damaged and was left out"
        data = data[: int(found[2])]
        name = kind.lower()
        if name in ("exif", "app1") and data.startswith(_XMP_IN_JPEG):
            self.xmp = self.xmp or data.removeprefix(_XMP_IN_JPEG)
        elif name in ("exif", "app1"):
            self.exif = self.exif or data
        elif name == "xmp":
            self.xmp = self.xmp or data
        elif name in ("icc", "icm"):
            self.icc = self.icc or data
        elif name in ("8bim", "iptc") and ((records := _iptc_records(data)) or name == "8bim"):
            self.iptc = self.iptc or records
        else:
            return f"its raw profile '{kind}' was left out"
        return None


def _has_whole_bytes(digits: bytes) -> bool:
    return all(len(line) % 2 == 0 for line in digits.split())


def _iptc_records(data: bytes) -> bytes | None:
    """Returns the records, which may be one of Photoshop's resources; None if there are none."""
    data = data.removeprefix(_PHOTOSHOP_IN_JPEG)
    if data.startswith(b"\x1c"):
        return data
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 8 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        start = at + 6 + (data[at + 6] + 2) // 2 * 2  # after its name, padded to an even length
        if start + 4 > len(data):
            return None
        (size,) = struct.unpack_from(">I", data, start)
        if number == _IPTC_RESOURCE:
            return data[start + 4 : start + 4 + size] or None
        at = start + 4 + (size + 1) // 2 * 2
    return None
