"""Notes of content, other than metadata, that a file holds and no result has."""

from __future__ import annotations

from PIL import Image

from hfsr.images.decoding.opened_image import OpenedImage
from hfsr.images.decoding.tiff_samples import extra_channel_notes

__all__ = ["notes_of_source"]


def notes_of_source(source: OpenedImage, *, has_profile: bool) -> list[str]:
    """Returns notes, for the user, of content that was not read.

    Args:
        source: the loaded source.
        has_profile: True if a color profile defines the color space.
    """
    notes = list(source.notes)
    if source.png is not None:
        notes += source.png.notes
    if source.image.format == "TIFF":
        notes += _page_notes(source.pages)
    if source.tiff is not None:
        notes += extra_channel_notes(source.tiff)
        notes += [] if has_profile else source.tiff.color_notes()
    return [*notes, *_depth_notes(source), *_comment_notes(source.image)]


def _page_notes(count: int) -> list[str]:
    return [f"only the first of {count} pages was read"] if count > 1 else []


def _depth_notes(source: OpenedImage) -> list[str]:
    """Returns notes of bits that Pillow does not keep."""
    depth = 8 if source.avif is None else source.avif.depth
    depth = max(depth, source.image.info.get("bit_depth", 8)) if source.image.format == "HEIF" else depth
    if source.tiff is not None and source.tiff.value(262, 0) == 5:
        depth = max(source.tiff.bits)
    return [f"its {depth} bit were read as 8"] if depth > 8 and not source.is_full_depth else []


def _comment_notes(image: Image.Image) -> list[str]:
    """Returns notes of content that Pillow reads and no result has."""
    notes = []
    if image.info.get("comment"):
        notes.append(f"the comment of its {image.format} was left out")
    aspect = image.info.get("aspect")
    if aspect is None and image.format in {"JPEG", "MPO"} and image.info.get("jfif_unit") == 0:
        aspect = image.info.get("jfif_density")
    if isinstance(aspect, tuple) and len(aspect) == 2 and aspect[0] != aspect[1]:
        notes.append(f"its pixels are not square ({aspect[0]}:{aspect[1]}), which the result does not state")
    return notes
