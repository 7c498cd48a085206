"""Color signaling of images without a profile: PNG's gAMA, cHRM and cICP."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["SRGB_CURVE", "build_profile", "color_chunks", "describe_color", "profile_of"]

Chunks = tuple[tuple[bytes, bytes], ...]

_SRGB_GAMMA, _GAMMA_TOLERANCE = 45_455, 600  # in 1/100,000, as a chunk stores it
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    1: (_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    5: (_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""White, red, green and blue (x, y) by the number of ITU-T H.273."""
_PRIMARY_NAMES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFER_NAMES = {8: "linear", 16: "PQ (HDR)", 18: "HLG (HDR)", 4: "gamma 2.2", 5: "gamma 2.8"}
_LIKE_SRGB = {1, 2, 6, 13, 14, 15}  # transfers displayed like sRGB, or unspecified
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Parameters of the curve of sRGB as ICC's parametric curve of type 3."""
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def color_chunks(found: Mapping[bytes, bytes], *, has_profile: bool) -> Chunks:
    """Selects the chunks that change the displayed colors, in the order in which they are written.

    Args:
        found: valid chunks by name.
        has_profile: True if there is a profile; only cICP takes precedence over it.
    """
    cicp = found.get(b"cICP")
    if cicp is not None and not (cicp[0] in (1, 2) and cicp[1] in _LIKE_SRGB):
        return tuple((name, found[name]) for name in (b"cICP", b"mDCV", b"cLLI") if name in found)
    if cicp is not None or has_profile or b"sRGB" in found:
        return ()
    kept = []
    gamma = struct.unpack(">I", found[b"gAMA"])[0] if b"gAMA" in found else 0
    if gamma and abs(gamma - _SRGB_GAMMA) > _GAMMA_TOLERANCE:
        kept.append((b"gAMA", found[b"gAMA"]))
    points = _points(found[b"cHRM"]) if b"cHRM" in found else None
    if points is not None and np.abs(points - np.array(_PRIMARIES[1])).max() > 0.005:
        kept.append((b"cHRM", found[b"cHRM"]))
        if not any(name == b"gAMA" for name, _ in kept) and gamma:
            kept.insert(0, (b"gAMA", found[b"gAMA"]))
    return tuple(kept)


def describe_color(chunks: Chunks) -> str:
    """Describes chunks for a note: "gamma 1", "BT.2020, PQ (HDR)"."""
    found = dict(chunks)
    if cicp := found.get(b"cICP"):
        primaries = _PRIMARY_NAMES.get(cicp[0], f"primaries {cicp[0]}")
        unnamed = "SDR" if cicp[1] in _LIKE_SRGB else f"transfer {cicp[1]}"
        return f"{primaries}, {_TRANSFER_NAMES.get(cicp[1], unnamed)}"
    parts = []
    if b"gAMA" in found:
        parts.append(f"gamma {100_000 / struct.unpack('>I', found[b'gAMA'])[0]:.3g}")
    if b"cHRM" in found:
        parts.append("custom primaries")
    return ", ".join(parts)


def profile_of(chunks: Chunks, *, gray: bool) -> bytes | None:
    """Returns the ICC profile equivalent to chunks; None if there is none, as for HDR transfers.

    Args:
        chunks: chunks from `color_chunks`.
        gray: True for one channel.
    """
    found = dict(chunks)
    points = np.array(_PRIMARIES[1])
    curve: tuple[float, ...] = SRGB_CURVE
    if cicp := found.get(b"cICP"):
        gammas = {8: 1.0, 4: 2.2, 5: 2.8}
        if cicp[0] not in _PRIMARIES or cicp[1] not in _LIKE_SRGB | set(gammas):
            return None
        points = np.array(_PRIMARIES[cicp[0]])
        curve = (gammas[cicp[1]],) if cicp[1] in gammas else SRGB_CURVE
    if b"gAMA" in found:
        curve = (100_000 / struct.unpack(">I", found[b"gAMA"])[0],)
    if b"cHRM" in found and (own := _points(found[b"cHRM"])) is not None:
        points = own
    try:
        return _profile(points, curve, gray=gray)
    except (np.linalg.LinAlgError, struct.error, ZeroDivisionError):
        return None  # collinear points, or a curve that does not fit into a profile


def _points(data: bytes) -> NDArray[np.float64] | None:
    """Returns white, red, green and blue (x, y) of a cHRM chunk; None if they are not valid."""
    points = np.array(struct.unpack(">8I", data)).reshape(4, 2) / 100_000
    return points if (points[:, 1] > 0).all() and (points.sum(1) <= 1.5).all() else None


def _profile(points: NDArray[np.float64], curve: tuple[float, ...], *, gray: bool) -> bytes:
    """Creates a profile of white and primaries (x, y) and one curve, or of a curve alone."""
    xyz = np.column_stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    white, primaries = xyz[0], xyz[1:].T
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    columns = adapt @ (primaries * np.linalg.solve(primaries, white))
    return build_profile(None if gray else columns, curve)


def build_profile(columns: NDArray[np.float64] | None, curve: tuple[float, ...]) -> bytes:
    """Creates a profile (ICC 4) of a matrix and one curve, or of a curve alone.

    Args:
        columns: XYZ of red, green and blue as columns (3, 3), adapted to D50; None for gray.
        curve: a gamma, or the five parameters of ICC's parametric curve of type 3.
    """
    kind = 0 if len(curve) == 1 else 3
    trc = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, curve))
    text = "RGB by gamma and primaries".encode("utf-16-be")
    name = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    tags = {b"desc": name, b"cprt": name, b"wtpt": _xyz(_D50)}
    if columns is None:
        tags[b"kTRC"] = trc
    else:
        tags |= {
            letter + b"XYZ": _xyz(column)
            for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True)
        }
        tags |= {letter + b"TRC": trc for letter in (b"r", b"g", b"b")}
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if columns is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"", 0x04200000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(_fixed, _D50))
    return head.ljust(128, b"\0") + table + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
