"""What a format cannot hold is known before the work and named."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr.images import LoadedImage, fitted, read_image, write_image
from hfsr.images.decoding.tag_directory import Entry
from hfsr.images.metadata.exif import ExifTags

PIXELS = np.full((9, 8, 3), 90, np.uint8)


def exif(size: int, note: int = 0) -> bytes:
    camera = {0x8827: Entry(3, 1, struct.pack("<H", 100))}
    if note:
        camera[0x927C] = Entry(7, note, b"Apple iOS\0".ljust(note, b"x"))
    return ExifTags("<", {270: Entry(2, size, b"d" * (size - 1) + b"\0")}, camera).encoded()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif", "bmp"])
def test_nothing_is_said_of_a_plain_image(suffix):
    name = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    assert fitted(LoadedImage(PIXELS, dpi=(72, 72)), name).notes == ()


def test_long_exif_is_left_out_of_a_jpeg_with_a_note(tmp_path):
    loaded = LoadedImage(PIXELS, exif=exif(70_000), notes=("of reading",))
    found = fitted(loaded, "JPEG")
    assert found.exif is None
    assert found.notes[0] == "of reading"
    assert found.notes[1].startswith("its EXIF was left out: JPEG holds 65,533 bytes of it, not 70,0")
    for suffix in ("jpg", "png", "tif", "webp", "avif"):
        write_image(loaded, tmp_path / f"a.{suffix}")
        with Image.open(tmp_path / f"a.{suffix}") as image:
            assert (270 in image.getexif()) == (suffix != "jpg")


def test_the_maker_note_goes_first(tmp_path):
    found = fitted(LoadedImage(PIXELS, exif=exif(100, note=70_000)), "JPEG")
    assert found.notes[0].startswith("the MakerNote of its EXIF was left out: JPEG holds")
    write_image(found, tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(0x8769) == {0x8827: 100}


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("key", ["exif", "xmp", "iptc", "icc"])
def test_the_limits_of_a_jpeg_are_exact(tmp_path, key, over):
    head = b"\x1c\x02\x78" if key == "iptc" else b"x"
    room = {"exif": 65_533, "xmp": 65_533 - 29, "iptc": 65_533 - 27, "icc": 255 * (65_533 - 14)}[key]
    size = room + over
    if key in ("exif", "iptc") and not over:  # both are of even length
        size -= 1
    data = exif(size - len(exif(6)) + 6) if key == "exif" else head.ljust(size, b" ")
    found = fitted(LoadedImage(PIXELS, **{key: data}), "JPEG")
    assert (getattr(found, key) is None) == over == bool(found.notes)
    write_image(found, tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        image.load()
        info = {"exif": "exif", "xmp": "xmp", "iptc": "photoshop", "icc": "icc_profile"}[key]
        assert (info in image.info) != over


@pytest.mark.parametrize(
    ("name", "image", "notes"),
    [
        ("JPEG", LoadedImage(PIXELS.astype(np.uint16)), ["16 bit was rounded to 8, the maximum of JPEG"]),
        ("PNG", LoadedImage(PIXELS.astype(np.uint16)), []),
        ("PNG", LoadedImage(PIXELS, iptc=b"\x1c"), ["its IPTC was left out: PNG cannot store it"]),
        ("BMP", LoadedImage(PIXELS, icc=b"p"), ["its color profile was left out: BMP cannot store it"]),
        ("BMP", LoadedImage(PIXELS, exif=exif(9)), ["its EXIF was left out: BMP cannot store it"]),
        (
            "WEBP",
            LoadedImage(PIXELS, dpi=(300, 300)),
            ["its resolution was left out: WEBP cannot store it"],
        ),
    ],
)
def test_what_is_lost_is_named(name, image, notes):
    assert list(fitted(image, name).notes) == notes


def test_it_is_known_before_the_first_step(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "long.png", exif=exif(70_000))
    upscaler = hfsr.Upscaler(hfsr.create_model("espcn_tiny"), device="cpu")
    steps = upscaler.steps(tmp_path / "long.png", tmp_path / "o.jpg")
    next(steps)
    assert "its EXIF was left out" in upscaler.notes[0]
    for _ in steps:
        pass
    assert read_image(tmp_path / "o.jpg").exif is None
