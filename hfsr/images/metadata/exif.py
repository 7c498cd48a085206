"""EXIF of the result: rebuilt as bytes from the tags of the source, and checked by reading it back."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from hfsr.errors import ImageError
from hfsr.images.decoding.tag_directory import DirectoryWriter, Entry, data_of, read_directory, reordered
from hfsr.images.decoding.tiff_layout import TiffLayout

__all__ = ["ExifTags", "parse_exif", "read_exif", "rebuilt_exif", "without_maker_note"]

_PREFIX = b"Exif\0\0"
_EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
_ORIENTATION, _MAKER_NOTE, _USER_COMMENT = 0x0112, 0x927C, 0x9286
_UTF_16 = b"UNICODE\0"  # begins a comment of 16-bit characters in the byte order of the block
_RESOLUTIONS = (282, 283)  # horizontal and vertical

_DESCRIPTIVE = frozenset(
    {
        *(269, 270, 271, 272, _ORIENTATION, *_RESOLUTIONS, 285, 286, 287, 296, 305, 306, 315, 316),
        *(0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # rating, copyright, Windows
    }
)
"""Tags of the first directory that apply to any copy of the image; all others describe one file's layout."""

_CAMERA_RANGES = ((33434, 33437), (34850, 34867), (36864, 37521), (41483, 42240))
"""Tags that belong to the camera's directory, which some programs write into the first one."""

_SILENT_RANGES = (
    *((254, 273), (277, 281), (284, 284), (288, 304), (317, 347), (512, 532), (559, 559)),
    *((0xA000, 0xA003), (50341, 50341), (59932, 59932)),
)
"""Tags that are dropped without a note: the layout, because the result has its own, and padding."""
_KEPT_APART = frozenset({700, 33723, 34377, 34675, _EXIF, _GPS, _INTEROP})  # XMP, IPTC, Photoshop, profile
_LAYERS = 37724

_STALE_CAMERA = frozenset({0xA002, 0xA003, 0xA004, 0xA20E, 0xA20F, 0xA210, 0x9214, 0xA214})
"""Tags of the camera's directory in px of the source, or with the name of another file."""
_STALE_INTEROP = frozenset({0x1000, 0x1001, 0x1002})
_RELATIVE_NOTES = (
    b"Apple iOS\0",
    b"FUJIFILM",
    b"Nikon\0\2",
    b"OLYMPUS\0",
    b"OM SYSTEM\0",
    b"PENTAX \0",
)
"""Prefixes of maker notes whose offsets are relative to their own start, so that they can be moved."""


@dataclass
class ExifTags:
    """Directories of an EXIF block, with loaded values.

    Attributes:
        order: byte order, "<" or ">".
        main: the first directory, without pointers.
        camera: EXIF's own directory.
        gps: the position directory.
        interop: the interoperability directory.
        damaged: number of tags that could not be read.
    """

    order: str
    main: dict[int, Entry] = field(default_factory=dict)
    camera: dict[int, Entry] = field(default_factory=dict)
    gps: dict[int, Entry] = field(default_factory=dict)
    interop: dict[int, Entry] = field(default_factory=dict)
    damaged: int = 0

    def encoded(self) -> bytes:
        """Returns the block as stored in JPEG, PNG, WebP and AVIF; empty if there are no tags."""
        writer = DirectoryWriter(self.order, 8)
        at = self.write(writer, {})
        if not self.main and not self.camera and not self.gps:
            return b""
        mark = b"II" if self.order == "<" else b"MM"
        return _PREFIX + mark + struct.pack(f"{self.order}HI", 42, at) + writer.packed

    def write(self, writer: DirectoryWriter, more: dict[int, Entry]) -> int:
        """Writes all directories, with more tags in the first one, and returns its offset."""
        main, camera = {**self.main, **more}, dict(self.camera)
        if self.interop:
            camera[_INTEROP] = self._pointer(writer.add_directory(self.interop))
        if camera:
            main[_EXIF] = self._pointer(writer.add_directory(camera))
        if self.gps:
            main[_GPS] = self._pointer(writer.add_directory(self.gps))
        return writer.add_directory(main)

    def little_endian(self) -> ExifTags:
        """Returns the same tags in little-endian order."""
        if self.order == "<":
            return self
        main, camera, gps, interop = (
            {tag: reordered(entry) for tag, entry in part.items()}
            for part in (self.main, self.camera, self.gps, self.interop)
        )
        comment = camera.get(_USER_COMMENT)
        if comment and isinstance(comment.data, bytes) and comment.data.startswith(_UTF_16):
            text = comment.data[len(_UTF_16) :]
            text = np.frombuffer(text[: len(text) // 2 * 2], "u2").byteswap().tobytes()
            camera[_USER_COMMENT] = Entry(comment.kind, len(_UTF_16) + len(text), _UTF_16 + text)
        return ExifTags("<", main, camera, gps, interop, self.damaged)

    def _pointer(self, offset: int) -> Entry:
        return Entry(4, 1, struct.pack(f"{self.order}I", offset))


def parse_exif(data: bytes) -> ExifTags:
    """Reads an EXIF block.

    Raises:
        ImageError: the data is not EXIF, or is damaged.
    """
    while data.startswith(_PREFIX):
        data = data[len(_PREFIX) :]
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise ImageError("its EXIF has no header")
    (magic,) = struct.unpack(f"{order}H", data[2:4])
    is_big = magic == 43
    try:
        (first,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
        main, _, damaged = read_directory(io.BytesIO(data), first, order, is_big=is_big, size=len(data))
    except struct.error as error:
        raise ImageError("its EXIF is damaged") from error
    return _collect(io.BytesIO(data), main, len(damaged), order, is_big=is_big, size=len(data))


def read_exif(tiff: TiffLayout) -> ExifTags:
    """Reads the descriptive tags of a TIFF, whose file is open."""
    return _collect(tiff.file, tiff.entries, 0, tiff.order, is_big=tiff.is_big, size=tiff.size)


def rebuilt_exif(tags: ExifTags, *, sideways: bool) -> tuple[bytes | None, list[str]]:
    """Builds EXIF for the upright result; returns it with notes of the tags that were left out.

    Args:
        tags: tags of the source; they are changed.
        sideways: True if width and height were exchanged.

    Raises:
        ImageError: the new block cannot be read back.
    """
    notes = []
    if tags.damaged:
        notes.append(f"{tags.damaged} damaged EXIF tag{'s were' if tags.damaged > 1 else ' was'} left out")
    if _LAYERS in tags.main:
        notes.append("its Photoshop layers were left out")
    left_out = [
        tag
        for tag in tags.main
        if not (tag in _KEPT_APART | {_LAYERS} or _is_descriptive(tag) or _is_silent(tag))
    ]
    if left_out:
        names = ", ".join(map(str, sorted(left_out)[:8])) + ", ..." * (len(left_out) > 8)
        notes.append(f"private tags were left out: {names}")
    _drop(tags.main, frozenset(tag for tag in tags.main if not _is_descriptive(tag)))
    _drop(tags.camera, _STALE_CAMERA)
    _drop(tags.interop, _STALE_INTEROP)
    if not _may_move(tags):
        del tags.camera[_MAKER_NOTE]
        notes.append("the camera maker's EXIF (MakerNote) was left out, because moving it would damage it")
    if _ORIENTATION in tags.main:
        tags.main[_ORIENTATION] = Entry(3, 1, struct.pack(f"{tags.order}H", 1))
    across, down = _RESOLUTIONS
    if sideways and across in tags.main and down in tags.main:
        tags.main[across], tags.main[down] = tags.main[down], tags.main[across]
    data = tags.encoded()
    if data and _contents(parse_exif(data)) != _contents(tags):
        raise ImageError("its EXIF cannot be read back")
    return data or None, notes


def without_maker_note(data: bytes) -> bytes:
    """Returns an EXIF block without the MakerNote, the largest tag, which only the maker's programs read."""
    tags = parse_exif(data)
    tags.camera.pop(_MAKER_NOTE, None)
    return tags.encoded()


def _collect(
    file: BinaryIO, main: Mapping[int, Entry], damaged: int, order: str, *, is_big: bool, size: int
) -> ExifTags:
    """Loads the values of a first directory and of its subdirectories.

    Large values that are never kept, such as Photoshop's layers, are not loaded.
    """
    tags = ExifTags(order, damaged=damaged)

    def inner(entry: Entry | None) -> dict[int, Entry]:
        if entry is None:
            return {}
        width = {2: "H", 4: "I", 8: "Q"}.get(len(pointer := data_of(file, entry)))
        try:
            (offset,) = struct.unpack(f"{order}{width}", pointer)
            found, _, lost = read_directory(file, offset, order, is_big=is_big, size=size)
        except (struct.error, OverflowError):
            tags.damaged += 1
            return {}
        tags.damaged += len(lost)
        return {tag: Entry(each.kind, each.count, data_of(file, each)) for tag, each in found.items()}

    for tag, entry in main.items():
        if tag not in _KEPT_APART:
            keeps = _is_descriptive(tag)
            tags.main[tag] = Entry(entry.kind, entry.count, data_of(file, entry)) if keeps else entry
    tags.camera = inner(main.get(_EXIF))
    tags.gps = inner(main.get(_GPS))
    tags.interop = inner(tags.camera.pop(_INTEROP, None))
    return tags


def _contents(tags: ExifTags) -> tuple[dict[int, Entry], ...]:
    return tags.main, tags.camera, tags.gps, tags.interop


def _may_move(tags: ExifTags) -> bool:
    """Returns True unless there is a maker note whose offsets are relative to the start of the file."""
    note = tags.camera.get(_MAKER_NOTE)
    return note is None or (isinstance(note.data, bytes) and note.data.startswith(_RELATIVE_NOTES))


def _is_descriptive(tag: int) -> bool:
    """Returns True for tags of the first directory that apply to any copy of the image."""
    is_camera = any(first <= tag <= last for first, last in _CAMERA_RANGES)
    return tag in _DESCRIPTIVE or (is_camera and tag not in _STALE_CAMERA | {_MAKER_NOTE, _EXIF, _GPS})


def _is_silent(tag: int) -> bool:
    """Returns True for tags that are dropped without a note."""
    return tag in _STALE_CAMERA or any(first <= tag <= last for first, last in _SILENT_RANGES)


def _drop(entries: dict[int, Entry], tags: frozenset[int]) -> None:
    for tag in tags:
        entries.pop(tag, None)
