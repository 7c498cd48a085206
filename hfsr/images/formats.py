"""Table of the image formats that hfsr reads and writes, used by file search, reading, writing and help."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "UNSUPPORTED_SUFFIXES",
    "WRITE_SUFFIXES",
    "ImageFormat",
    "count_suffixes",
    "format_of_suffix",
    "has_package",
    "is_image_name",
    "result_suffix",
]

_SEGMENT = 65_533  # bytes of data in one JPEG segment
_UNLIMITED = 1 << 32


@dataclass(frozen=True)
class ImageFormat:
    """File format.

    Attributes:
        name: Pillow's name of the format.
        suffixes: every suffix that Pillow registers for it, lower case; the first is the usual one.
        writable: the suffixes with which hfsr writes it, a subset of `suffixes`.
        result: the suffix of a result whose source has a suffix that is not writable.
        alpha: True if it can hold transparency.
        gray: True if it can hold a single channel.
        bits: bits per channel that it can hold; 32 are floats.
        largest_side: px; None if the format has no practical limit.
        by_rows: True if hfsr writes it row by row, so that a result is never in memory as a whole.
        icc: bytes of a color profile that it can hold.
        exif: bytes of EXIF that it can hold.
        xmp: bytes of XMP that it can hold.
        iptc: bytes of IPTC records that it can hold.
        dpi: True if it can hold a resolution.
        png_chunks: True if it can hold PNG's chunks of color (gamma, HDR) and of text.
        package: the optional package that reads it; None for Pillow.
    """

    name: str
    suffixes: tuple[str, ...]
    writable: tuple[str, ...] = ()
    result: str = ".png"
    alpha: bool = False
    gray: bool = True
    bits: tuple[int, ...] = (8,)
    largest_side: int | None = None
    by_rows: bool = False
    icc: int = _UNLIMITED
    exif: int = _UNLIMITED
    xmp: int = _UNLIMITED
    iptc: int = 0
    dpi: bool = True
    png_chunks: bool = False
    package: str | None = None

    @property
    def is_readable(self) -> bool:
        """True if the package that reads it is installed."""
        return self.package is None or has_package(self.package)


@functools.cache
def has_package(name: str) -> bool:
    """Returns True if an optional package is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


FORMATS: dict[str, ImageFormat] = {
    each.name: each
    for each in (
        ImageFormat(
            "PNG", (".png", ".apng"), writable=(".png",), alpha=True, bits=(8, 16), by_rows=True,
            png_chunks=True,
        ),
        ImageFormat(
            "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), writable=(".jpg", ".jpeg", ".jpe", ".jfif"),
            largest_side=65_535, icc=255 * (_SEGMENT - 14), exif=_SEGMENT, xmp=_SEGMENT - 29,
            iptc=_SEGMENT - 27,
        ),
        ImageFormat("MPO", (".mpo",), result=".jpg"),
        ImageFormat(
            "WEBP", (".webp",), writable=(".webp",), alpha=True, gray=False, largest_side=16_383, dpi=False,
        ),
        ImageFormat(
            "TIFF", (".tif", ".tiff"), writable=(".tif", ".tiff"), alpha=True, bits=(8, 16, 32), by_rows=True,
            iptc=_UNLIMITED,
        ),
        ImageFormat("BMP", (".bmp",), writable=(".bmp",), icc=0, exif=0, xmp=0),
        ImageFormat(
            "AVIF", (".avif", ".avifs"), writable=(".avif",), alpha=True, gray=False, largest_side=65_536,
            dpi=False,
        ),
        ImageFormat("GIF", (".gif",)),
        ImageFormat("JXL", (".jxl",), package="imagecodecs"),
        ImageFormat("HEIF", (".heic", ".heif", ".hif"), package="pillow_heif"),
        ImageFormat("PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm")),
    )
}  # fmt: skip
"""Formats by Pillow's name, in the order in which they are tried. Only plain raster formats: others run
programs (EPS), or cannot be recognized reliably (TGA).
"""

SUFFIXES = frozenset(suffix for each in FORMATS.values() if each.is_readable for suffix in each.suffixes)
"""Suffixes of files that are read as images when a folder is searched, lower case."""

WRITE_SUFFIXES = tuple(suffix for each in FORMATS.values() for suffix in each.writable)
"""Suffixes that hfsr writes, lower case."""

UNSUPPORTED_SUFFIXES = frozenset(
    {
        *(suffix for each in FORMATS.values() for suffix in each.suffixes),
        *(".jp2", ".j2k", ".jpx", ".jpf", ".jxr", ".exr", ".hdr", ".psd"),
        *(".psb", ".xcf", ".tga", ".ico", ".qoi", ".dds", ".pcx", ".svg", ".eps", ".dng", ".cr2", ".cr3"),
        *(".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    }
    - SUFFIXES
)
"""Suffixes of well-known image formats that hfsr, as it is installed, does not read; they name no folder."""


def format_of_suffix(suffix: str) -> ImageFormat | None:
    """Returns the format of a suffix with its dot, in upper or lower case; None if the table has none."""
    folded = suffix.lower()
    return next((each for each in FORMATS.values() if folded in each.suffixes), None)


def is_image_name(path: PurePath) -> bool:
    """Returns True if a file of this name is read as an image: a known suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def result_suffix(suffix: str) -> str:
    """Returns the suffix of the result of a source: the same if hfsr writes it, else the nearest."""
    if suffix.lower() in WRITE_SUFFIXES:
        return suffix
    source = format_of_suffix(suffix)
    return ".png" if source is None else source.result


def count_suffixes(paths: Iterable[PurePath]) -> str:
    """Lists the suffixes of files with their counts, most frequent first: ".txt (12), .heic, no suffix"."""
    counts: dict[str, int] = {}
    for path in paths:
        name = path.suffix.lower() or "no suffix"
        counts[name] = counts.get(name, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [name if count == 1 else f"{name} ({count})" for name, count in ranked[:5]]
    return ", ".join(shown) + (f" and {len(ranked) - 5} more" if len(ranked) > 5 else "")
