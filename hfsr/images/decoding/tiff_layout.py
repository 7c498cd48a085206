"""Tags of a TIFF or BigTIFF that define its samples, and a rewritten file that Pillow can open.

Pillow chooses a mode from a table of known layouts; `tiff_samples` reads the layouts that are missing there,
or that have a mode of another range there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from hfsr.errors import ImageError
from hfsr.images.decoding.tag_directory import DirectoryWriter, Entry, data_of, narrowed, read_directory

__all__ = ["TiffLayout", "has_tiff_signature", "read_tiff_layout"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, STRIP_ROWS, COUNTS, PLANAR, PREDICTOR = 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA, FORMAT, JPEG_TABLES, SUBSAMPLING = 338, 339, 347, 530
_COLOR_MAP, _FILL_ORDER, _INK_SET, _FAX = 320, 266, 332, (292, 293)
_YCBCR = (529, SUBSAMPLING, 531, 532)
_LAYOUT = frozenset(
    {
        *(
            WIDTH,
            HEIGHT,
            BITS,
            COMPRESSION,
            PHOTOMETRIC,
            OFFSETS,
            SAMPLES,
            STRIP_ROWS,
            COUNTS,
            PLANAR,
            PREDICTOR,
        ),
        *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT, JPEG_TABLES),
        *(_COLOR_MAP, _FILL_ORDER, _INK_SET, *_FAX, *_YCBCR),
    }
)
"""Tags that decide how samples are decoded."""
_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
_PHOTOSHOP = (34377, 37724)  # resources and layers: large, and never used

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_PHOTOMETRIC_NAMES = {
    **{0: "gray", 1: "gray", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab"},
    **{10: "Lab", 32803: "camera raw", 32844: "LogL", 32845: "LogLuv", 34892: "camera raw"},
}
_FORMAT_NAMES = {
    2: "signed integers",
    3: "floating-point numbers",
    5: "complex numbers",
    6: "complex numbers",
}
_COLOR_TAGS = {301: "TransferFunction", 318: "WhitePoint", 319: "PrimaryChromaticities"}
_MOST_PAGES = 10_000


@dataclass(frozen=True)
class TiffLayout:
    """First image of a TIFF: its tags, read from an open file on demand."""

    file: BinaryIO
    order: str
    """Byte order, "<" or ">"."""
    is_big: bool
    size: int
    """Size of the file in bytes."""
    entries: Mapping[int, Entry]
    pages: int
    damaged: frozenset[int] = frozenset()
    """Tags that cannot be read, because the file ends before their values do."""

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Returns the integers of a tag, or the default if it is missing or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return default
        return self.integers(entry)

    def value(self, tag: int, default: int) -> int:
        """Returns the first integer of a tag."""
        return (*self.values(tag), default)[0]

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self.value(SAMPLES, 1)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        return self._per_sample(BITS, 1)

    @property
    def formats(self) -> tuple[int, ...]:
        """SampleFormat of each sample: 1 unsigned, 2 signed, 3 floating point, 4 undefined."""
        return self._per_sample(FORMAT, 1)

    @property
    def is_floating(self) -> bool:
        """True if all samples are floats of 16, 32 or 64 bit."""
        return set(self.formats) == {3} and len(set(self.bits)) == 1 and self.bits[0] in (16, 32, 64)

    @property
    def has_damaged_layout(self) -> bool:
        """True if a tag that decides how samples are decoded cannot be read."""
        return not self.damaged.isdisjoint(_LAYOUT)

    @property
    def is_gray_or_rgb(self) -> bool:
        """True if the color samples are gray or RGB."""
        return self.value(PHOTOMETRIC, 0) in (0, 1, 2)

    @property
    def planes(self) -> int:
        """Planes of one sample each, or 1 if the samples of a pixel are stored together."""
        return self.samples if self.value(PLANAR, 1) == 2 else 1

    @property
    def subsampling(self) -> tuple[int, int]:
        """Px across and down per sample of Cb and Cr, of an image in YCbCr."""
        across, down = (*self.values(SUBSAMPLING), 2, 2)[:2]
        return max(across, 1), max(down, 1)

    @property
    def colors(self) -> int:
        """Color samples per pixel, without extra samples."""
        return {0: 1, 1: 1, 3: 1, 4: 1, 5: 4}.get(self.value(PHOTOMETRIC, 0), 3)

    @property
    def extra(self) -> tuple[int, ...]:
        """Meaning of each extra sample: 0 unspecified, 1 premultiplied alpha, 2 alpha."""
        count = max(self.samples - self.colors, 0)
        # without the tag, most programs interpret a single extra sample as alpha
        found = self.values(EXTRA, (2,) if count == 1 else ())
        return (*found, *(0,) * count)[:count]

    @property
    def is_premultiplied(self) -> bool:
        """True if the colors are multiplied by the alpha."""
        return next((kind for kind in self.extra if kind in (1, 2)), 0) == 1

    @property
    def description(self) -> str:
        """Format, channels and depth, as in "TIFF, RGB with 2 extra channels, 16 bit"."""
        name = _PHOTOMETRIC_NAMES.get(self.value(PHOTOMETRIC, 0), "of an unknown kind of color")
        count = len(self.extra)
        beside = f" with {count} extra channel{'s' * (count > 1)}" if count else ""
        depths = sorted(set(self.bits))
        return f"TIFF, {name}{beside}, {' and '.join(map(str, depths))} bit"

    def color_notes(self) -> list[str]:
        """Returns notes of tags that define the color space, which apply if there is no profile."""
        found = [name for tag, name in _COLOR_TAGS.items() if tag in self.entries]
        return [f"its color tags ({', '.join(found)}) were left out"] if found else []

    def check_samples(self) -> None:
        """Raises ImageError for samples without a defined black and white, and previews of camera raw files.

        Raises:
            ImageError: the samples are not supported; the message describes them.
        """
        kinds = {kind for kind in self.formats if kind in _FORMAT_NAMES}
        if _DNG_VERSION in self.entries or "raw" in _PHOTOMETRIC_NAMES.get(self.value(PHOTOMETRIC, 0), ""):
            raise ImageError("it is a camera raw file (DNG); develop it to a 16-bit TIFF first")
        if self.value(_SUBFILE, 0) & 1 and _SUB_IFDS in self.entries:
            raise ImageError("its first image is a small preview, as in camera raw files; develop it first")
        if self.is_floating:
            return
        if kinds:
            raise ImageError(
                f"its samples are {_FORMAT_NAMES[min(kinds)]} ({self.description}); "
                "convert it to unsigned 16-bit integers first"
            )
        if max(self.bits) > 16:
            raise ImageError(
                f"its samples are {max(self.bits)}-bit integers ({self.description}); "
                "convert it to unsigned 16-bit integers first"
            )

    def rewritten(self, replaced: Mapping[int, tuple[int, ...]], dropped: Collection[int] = ()) -> bytes:
        """Returns the file as a classic TIFF with one image and other tags.

        Args:
            replaced: new integers by tag.
            dropped: tags to leave out.
        """
        self.file.seek(0)
        data = self.file.read()
        entries = self._entries(replaced, dropped)
        writer = DirectoryWriter(self.order, len(data) + len(data) % 2)
        if self.is_big:
            self._sub_directories(writer, entries, depth=0)
        return self._classic(data[8:] + bytes(len(data) % 2), writer, entries)

    def with_pieces(
        self,
        pieces: Sequence[bytes],
        replaced: Mapping[int, tuple[int, ...]],
        dropped: Collection[int] = (),
    ) -> bytes:
        """Returns a classic TIFF of other strips or tiles, without metadata.

        Args:
            pieces: strips, or tiles if the file has tiles whose tags are not dropped.
            replaced: new integers by tag.
            dropped: tags to leave out.
        """
        is_tiled = TILE_OFFSETS in self.entries and TILE_OFFSETS not in dropped
        offsets = [8]
        for piece in pieces:
            offsets.append(offsets[-1] + len(piece))
        places, counts = (TILE_OFFSETS, TILE_COUNTS) if is_tiled else (OFFSETS, COUNTS)
        replaced = {**replaced, places: tuple(offsets[:-1]), counts: tuple(map(len, pieces))}
        # Pillow would turn it upright by an orientation, also that of XMP
        entries = self._entries(replaced, {*dropped, *self.entries.keys() - _LAYOUT})
        padding = bytes(offsets[-1] % 2)
        writer = DirectoryWriter(self.order, offsets[-1] + len(padding))
        return self._classic(b"".join((*pieces, padding)), writer, entries)

    def without_samples(
        self, replaced: Mapping[int, tuple[int, ...]], dropped: Collection[int] = ()
    ) -> bytes:
        """Returns a classic TIFF of the same size and metadata, except EXIF, that has no samples.

        Args:
            replaced: new integers by tag, of the layout.
            dropped: tags to leave out.
        """
        tiled = (TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS)
        size = self.value(WIDTH, 0) * self.value(HEIGHT, 0) & 0xFFFFFFFF
        left_out = (*dropped, *tiled, STRIP_ROWS, _EXIF_IFD, _GPS_IFD, _INTEROP_IFD)
        entries = self._entries({**replaced, OFFSETS: (8,), COUNTS: (size,)}, left_out)
        return self._classic(b"", DirectoryWriter(self.order, 8), entries)

    def as_gray(self) -> bytes:
        """Returns an 8-bit gray TIFF of the same size and metadata, except EXIF, that has no samples."""
        replaced = {BITS: (8,), PHOTOMETRIC: (1,), SAMPLES: (1,), COMPRESSION: (1,), PLANAR: (1,)}
        return self.without_samples(replaced, (EXTRA, FORMAT, PREDICTOR))

    def loaded(self, entry: Entry) -> Entry:
        """Returns an entry with its values."""
        return Entry(entry.kind, entry.count, data_of(self.file, entry))

    def _entries(self, replaced: Mapping[int, tuple[int, ...]], dropped: Collection[int]) -> dict[int, Entry]:
        """Returns the loaded entries of a classic TIFF with other tags."""
        left_out = {*dropped, *replaced, _SUB_IFDS, *_PHOTOSHOP}
        entries = {
            tag: narrowed(self.loaded(entry), self.order)
            for tag, entry in self.entries.items()
            if tag not in left_out
        }
        for tag, values in replaced.items():
            entries[tag] = Entry(4, len(values), struct.pack(f"{self.order}{len(values)}I", *values))
        return entries

    def _classic(self, data: bytes, writer: DirectoryWriter, entries: Mapping[int, Entry]) -> bytes:
        """Returns a classic TIFF of the data after the header and a directory that is added to the writer."""
        mark = b"II" if self.order == "<" else b"MM"
        head = mark + struct.pack(f"{self.order}HI", 42, writer.add_directory(entries))
        return b"".join((head, data, writer.packed))

    def _sub_directories(self, writer: DirectoryWriter, entries: dict[int, Entry], depth: int) -> None:
        """Rewrites the directories of EXIF and GPS, whose format differs between BigTIFF and classic TIFF."""
        for tag in (_EXIF_IFD, _GPS_IFD, _INTEROP_IFD):
            if tag in entries and depth < 2:  # EXIF has no deeper nesting
                offset = self.integers(entries.pop(tag))[0]
                found, _, _ = read_directory(self.file, offset, self.order, is_big=True, size=self.size)
                inner = {each: narrowed(self.loaded(entry), self.order) for each, entry in found.items()}
                self._sub_directories(writer, inner, depth + 1)
                at = struct.pack(f"{self.order}I", writer.add_directory(inner))
                entries[tag] = Entry(4, 1, at)
            else:
                entries.pop(tag, None)

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """Returns the integers of an entry."""
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.kind]}", data_of(self.file, entry))

    def _per_sample(self, tag: int, default: int) -> tuple[int, ...]:
        found = self.values(tag, (default,))
        count = max(self.samples, 1)
        return found[:count] if len(found) >= count else (found[0],) * count


def has_tiff_signature(file: BinaryIO) -> bool:
    """Returns True if a file begins with the header of a TIFF or BigTIFF."""
    file.seek(0)
    head = file.read(8)
    return len(head) == 8 and head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff_layout(file: BinaryIO) -> TiffLayout | None:
    """Reads the first directory of a TIFF.

    Returns:
        None if the file is not a TIFF, or its directory is damaged.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    (magic,) = struct.unpack(f"{order}H", head[2:4])
    if magic not in (42, 43):
        return None
    size = file.seek(0, os.SEEK_END)
    is_big = magic == 43
    try:
        (first,) = struct.unpack(f"{order}{'Q' if is_big else 'I'}", head[8:16] if is_big else head[4:8])
        entries, _, damaged = read_directory(file, first, order, is_big=is_big, size=size)
        pages = _count_pages(file, first, order, is_big, size)
        layout = TiffLayout(file, order, is_big, size, entries, pages, frozenset(damaged))
        usable = all(layout.values(tag) for tag in (WIDTH, HEIGHT)) and bool(layout.bits)
    except (struct.error, ImageError):
        return None
    finally:
        file.seek(0)
    return layout if usable else None


def _count_pages(file: BinaryIO, offset: int, order: str, is_big: bool, size: int) -> int:
    """Counts the directories in the chain that begins at an offset; damage or a loop ends the chain."""
    seen: set[int] = set()
    while 0 < offset < size and offset not in seen and len(seen) < _MOST_PAGES:
        seen.add(offset)
        try:
            offset = read_directory(file, offset, order, is_big=is_big, size=size)[1]
        except struct.error:
            break
    return len(seen)
