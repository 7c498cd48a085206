"""Color profiles of known effect, built by hand: Pillow can make none of inks or of gray."""

from __future__ import annotations

import itertools
import struct

D50 = struct.pack(">3i", 63190, 65536, 54061)
RED = (54.29, 80.81, 69.89)
"""Lab (D50) of sRGB's red."""


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + D50
    return head.ljust(128, b"\0") + table + body


def linear_gray() -> bytes:
    """Gray whose values are light itself: 128 of 255 is half the light, which sRGB calls 188."""
    white = b"XYZ \0\0\0\0" + D50
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": white, b"kTRC": b"curv\0\0\0\0\0\0\0\0"})


def red_cyan() -> bytes:
    """Inks of which cyan prints red, black prints black, and the other two print nothing."""
    grid = []
    for cyan, _, _, black in itertools.product((0, 1), repeat=4):
        lightness, a, b = (0, 0, 0) if black else RED if cyan else (100, 0, 0)
        grid += [round(lightness * 652.8), round((a + 128) * 256), round((b + 128) * 256)]
    ramp = (0, 65535)
    lut = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">2H", 2, 2)
    lut += struct.pack(f">{8 + len(grid) + 6}H", *ramp * 4, *grid, *ramp * 3)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"wtpt": b"XYZ \0\0\0\0" + D50})
