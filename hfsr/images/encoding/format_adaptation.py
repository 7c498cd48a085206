"""Adaptation of an image to its output format: unsupported content is left out, with notes."""

from __future__ import annotations

from dataclasses import replace

from hfsr.errors import ImageError, some_of
from hfsr.images.decoding.png_chunks import text_keywords
from hfsr.images.formats import FORMATS, ImageFormat
from hfsr.images.linear_light import as_integers
from hfsr.images.loaded_image import LoadedImage
from hfsr.images.metadata.color_profile import matching_profile
from hfsr.images.metadata.color_signal import describe_color, profile_of
from hfsr.images.metadata.exif import without_maker_note

__all__ = ["fitted"]

_SAYS_NOTHING = ((72, 72), (96, 96))  # px per inch that programs write if they do not know the value


def fitted(image: LoadedImage, format_name: str) -> LoadedImage:
    """Returns the image with the metadata that a format can hold; the pixels are unchanged.

    Args:
        image: the image to be written.
        format_name: Pillow's name of the format.

    Returns:
        The same image, with a note for each property that was left out or will be rounded.
    """
    kind = FORMATS[format_name]
    if image.bits == 32 and 32 not in kind.bits:
        image = as_integers(image, max(kind.bits))
    exif, notes = _fitted_exif(image.exif, kind)
    profile, mismatch = matching_profile(image.icc, gray=image.is_gray)
    image, notes = replace(image, icc=profile), notes + mismatch
    if image.color and not kind.png_chunks:
        image, note = _with_profile(image, kind)
        notes.append(note)
    if image.bits not in kind.bits:
        notes.append(f"{image.bits} bit was rounded to {max(kind.bits)}, the maximum of {kind.name}")
    texts = image.texts if kind.png_chunks else ()
    if image.texts and not texts:
        names = some_of(text_keywords(image.texts), 4)
        notes.append(f"its PNG texts ({names}) were left out: {kind.name} cannot store them")
    dpi = image.dpi
    if dpi is not None and not kind.dpi:
        if all(abs(dpi[0] - x) + abs(dpi[1] - y) > 0.1 for x, y in _SAYS_NOTHING):
            notes.append(f"its resolution was left out: {kind.name} cannot store it")
        dpi = None
    kept: list[bytes | None] = []
    for name, data, room in (
        ("color profile", image.icc, kind.icc),
        ("XMP", image.xmp, kind.xmp),
        ("IPTC", image.iptc, kind.iptc),
    ):
        fits = data is None or len(data) <= room
        kept.append(data if fits else None)
        if data and not fits:
            notes.append(_left_out(f"its {name}", data, room, kind))
    icc, xmp, iptc = kept
    notes = [*image.notes, *notes]
    image = replace(image, texts=texts)
    return replace(image, exif=exif, dpi=dpi, icc=icc, xmp=xmp, iptc=iptc, notes=tuple(notes))


def _with_profile(image: LoadedImage, kind: ImageFormat) -> tuple[LoadedImage, str]:
    """Replaces color chunks by an equivalent profile, if there is one."""
    meant = describe_color(image.color)
    profile = profile_of(image.color, gray=image.is_gray) if kind.icc and image.icc is None else None
    if profile is None:
        note = f"its color ({meant}) was left out: {kind.name} cannot store it, it looks different; use .png"
        return replace(image, color=()), note
    return replace(image, color=(), icc=profile), f"its color ({meant}) was described by a color profile"


def _fitted_exif(exif: bytes | None, kind: ImageFormat) -> tuple[bytes | None, list[str]]:
    if exif is None or len(exif) <= kind.exif:
        return exif, []
    if kind.exif:
        try:
            shorter = without_maker_note(exif)
        except ImageError:  # the EXIF of an image that a caller created
            shorter = b""
        if shorter and len(shorter) <= kind.exif:
            return shorter, [_left_out("the MakerNote of its EXIF", exif, kind.exif, kind)]
    return None, [_left_out("its EXIF", exif, kind.exif, kind)]


def _left_out(what: str, data: bytes, room: int, kind: ImageFormat) -> str:
    if room:
        return f"{what} was left out: {kind.name} holds {room:,} bytes of it, not {len(data):,}"
    return f"{what} was left out: {kind.name} cannot store it"
