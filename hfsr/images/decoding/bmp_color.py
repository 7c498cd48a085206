"""Color profile and gamma of a BMP of version 4 or 5, which Pillow does not report."""

from __future__ import annotations

import struct
from typing import BinaryIO

__all__ = ["read_bmp_color"]

_FILE_HEADER, _V4, _V5 = 14, 108, 124  # bytes
_KIND, _GAMMA, _PROFILE = 56, 96, 112  # offsets in the header of the image
_CALIBRATED, _EMBEDDED, _LINKED = 0, b"DEBM", b"KNIL"


def read_bmp_color(file: BinaryIO) -> tuple[bytes | None, list[str]]:
    """Reads the color profile and gamma of a BMP.

    Args:
        file: file open for reading.

    Returns:
        The embedded profile, or None, and notes of the properties that are left out.
    """
    file.seek(0)
    head = file.read(_FILE_HEADER + _V5)
    file.seek(0)
    if not head.startswith(b"BM") or len(head) < _FILE_HEADER + _V5:
        return None, []
    head = head[_FILE_HEADER:]
    (size,) = struct.unpack_from("<I", head)
    kind = head[_KIND : _KIND + 4]
    if size >= _V5 and kind == _EMBEDDED:
        offset, length = struct.unpack_from("<II", head, _PROFILE)
        file.seek(_FILE_HEADER + offset)
        profile = file.read(length)
        file.seek(0)
        is_whole = len(profile) == length > 128 and profile[36:40] == b"acsp"
        return (profile, []) if is_whole else (None, ["its color profile is damaged and was left out"])
    if size >= _V5 and kind == _LINKED:
        return None, ["its color profile is in another file and was left out"]
    if size >= _V4 and kind == struct.pack("<I", _CALIBRATED):
        gammas = [value / 65536 for value in struct.unpack_from("<3I", head, _GAMMA)]
        if all(gammas) and any(abs(gamma - 2.2) > 0.05 for gamma in gammas):
            return None, [f"its gamma of {gammas[0]:.3g} was left out"]
    return None, []
