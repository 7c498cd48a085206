"""EXIF of a result: what holds of it arrives byte for byte, all else is left out and named."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfsr.images import image_from_pil, read_image, write_image
from hfsr.images.decoding.tag_directory import DirectoryWriter, Entry
from hfsr.images.metadata.exif import parse_exif

from .tiff_files import encode

TARGETS = ("png", "jpg", "tif", "webp", "avif")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
CAMERA, GPS, INTEROP = 0x8769, 0x8825, 0xA005


def text(value: str) -> Entry:
    data = value.encode() + b"\0"
    return Entry(2, len(data), data)


def shorts(order: str, *values: int) -> Entry:
    return Entry(3, len(values), struct.pack(f"{order}{len(values)}H", *values))


def block(order: str, main: dict, camera: dict | None = None, gps: dict | None = None) -> bytes:
    """An EXIF block; directories lie where the writer under test would not put them."""
    writer = DirectoryWriter(order, 8)
    writer.add(b"padding!")
    main = dict(main)
    for tag, part in ((CAMERA, camera), (GPS, gps)):
        if part is not None:
            main[tag] = Entry(4, 1, struct.pack(f"{order}I", writer.add_directory(part)))
    at = writer.add_directory(main)
    return (
        b"Exif\0\0" + (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at) + writer.packed
    )


def save(path: Path, exif: bytes) -> Path:
    Image.fromarray(PIXELS).save(path, exif=exif)
    return path


def written(loaded, path: Path) -> Image.Exif:
    write_image(loaded, path)
    with Image.open(path) as image:
        found = image.getexif()
        if path.suffix != ".tif":
            assert parse_exif(image.info["exif"]).damaged == 0
        found.get_ifd(CAMERA)
        found.get_ifd(GPS)
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_arrive_as_they_are(tmp_path, order, target):
    exif = block(
        order,
        {0x010F: text("Ümläut Söhne"), 0x0131: text("Software"), 0x9C9C: Entry(1, 4, b"h\0i\0")},
        {0x829A: Entry(5, 1, struct.pack(f"{order}II", 1, 250)), 0x8827: shorts(order, 400),
         0x9204: Entry(10, 1, struct.pack(f"{order}ii", -1, 3))},
        {1: text("N"), 2: Entry(5, 3, struct.pack(f"{order}6I", 48, 1, 8, 1, 0, 1))},
    )  # fmt: skip
    found = written(read_image(save(tmp_path / "a.jpg", exif)), tmp_path / f"b.{target}")
    assert found[0x010F].encode("latin-1").decode() == "Ümläut Söhne"
    assert (found[0x0131], found[0x9C9C]) == ("Software", b"h\0i\0")
    camera = found.get_ifd(CAMERA)
    assert (float(camera[0x829A]), camera[0x8827]) == (1 / 250, 400)
    assert float(camera[0x9204]) == pytest.approx(-1 / 3)
    assert found.get_ifd(GPS) == {1: "N", 2: (48, 8, 0)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff_s_tags_become_exif(tmp_path, order, target):
    tags = {271: (2, b"Maker of images\0"), 33432: (2, b"Somebody\0")}
    path = tmp_path / "big.tif"
    path.write_bytes(encode(PIXELS, 8, order=order, big=True, tags=tags))
    images = [read_image(path)]
    if order == "<":  # Pillow reads no other
        with Image.open(path) as opened:
            opened.load()
            images.append(image_from_pil(opened))
    for image in images:
        found = written(image, tmp_path / f"b.{target}")
        assert found[271] == "Maker of images"
        assert found[33432] == "Somebody"
        head = parse_exif(image.exif)
        assert image.exif[6:10] in (b"II*\0", b"MM\0*")
        assert head.damaged == 0


@pytest.mark.parametrize("target", TARGETS)
def test_layers_of_photoshop_are_in_no_result(tmp_path, target):
    layers = b"Adobe Photoshop Document Data Block\0" + bytes(4000)
    path = tmp_path / "a.tif"
    path.write_bytes(encode(PIXELS, 8, tags={37724: (7, layers), 34377: (7, b"8BIM" + bytes(100))}))
    image = read_image(path)
    assert image.notes == ("its Photoshop layers were left out",)
    write_image(image, tmp_path / f"b.{target}")
    data = (tmp_path / f"b.{target}").read_bytes()
    assert b"Photoshop Document" not in data
    assert b"8BIM" not in data


def test_private_tags_of_a_tiff_are_named(tmp_path):
    path = tmp_path / "a.tif"
    geo = {
        33550: (12, [1.0, 1.0, 0.0]),
        33922: (12, [0.0] * 6),
        65000: (2, b"private\0"),
        305: (2, b"Software\0"),
    }
    path.write_bytes(encode(PIXELS, 8, tags=geo))
    image = read_image(path)
    assert image.notes == ("private tags were left out: 33550, 33922, 65000",)
    assert set(written(image, tmp_path / "b.png")) == {305}


@pytest.mark.parametrize(
    ("note", "moves"),
    [(b"Apple iOS\0\0\1MM", True), (b"Nikon\0\2\x10\0\0MM\0*", True), (b"FUJIFILM\x0c\0\0\0", True),
     (b"\x0c\0\1\0\3\0\0\0Canon", False), (b"SONY DSC \0\0\0", False), (b"Nikon\0\1\0", False)],
)  # fmt: skip
def test_maker_notes_that_would_break_are_left_out(tmp_path, note, moves):
    exif = block("<", {0x010F: text("Maker")}, {0x927C: Entry(7, len(note), note), 0x8827: shorts("<", 100)})
    image = read_image(save(tmp_path / "a.jpg", exif))
    camera = written(image, tmp_path / "b.jpg").get_ifd(CAMERA)
    assert camera[0x8827] == 100
    assert (camera.get(0x927C) == note) == moves
    assert any("MakerNote" in each for each in image.notes) != moves


def test_tags_in_px_of_the_source_are_left_out(tmp_path):
    stale = {tag: shorts("<", 9) for tag in (0xA002, 0xA003, 0x9214, 0xA214, 0xA20E, 0xA20F, 0xA210)}
    exif = block("<", {0x0131: text("Software")}, {**stale, 0xA001: shorts("<", 1)})
    image = read_image(save(tmp_path / "a.jpg", exif))
    assert written(image, tmp_path / "b.jpg").get_ifd(CAMERA) == {0xA001: 1}
    assert image.notes == ()


def test_tags_of_the_camera_in_the_wrong_directory_arrive(tmp_path):
    main = {
        0x9003: text("2026:01:02 03:04:05"),
        0xA434: text("A lens"),
        0xA002: shorts("<", 9),
        0x0131: text("S"),
    }
    image = read_image(save(tmp_path / "a.jpg", block("<", main)))
    assert image.notes == ()
    assert set(written(image, tmp_path / "b.png")) == {0x9003, 0xA434, 0x0131}


def test_a_thumbnail_of_the_source_does_not_travel(tmp_path):
    thumbnail = io.BytesIO()
    Image.fromarray(PIXELS).save(thumbnail, "JPEG")
    image = Image.fromarray(PIXELS)
    writer = DirectoryWriter("<", 8)
    place = writer.add(thumbnail.getvalue())
    inner = {0x0201: Entry(4, 1, struct.pack("<I", place)), 0x0202: Entry(4, 1, struct.pack("<I", 600))}
    second = writer.add_directory(inner)
    at = writer.add_directory({0x0131: text("Software")})
    data = bytearray(b"Exif\0\0II*\0" + struct.pack("<I", at) + writer.packed)
    struct.pack_into("<I", data, 6 + at + 2 + 12, second)  # the next directory
    image.save(tmp_path / "a.jpg", exif=bytes(data))
    loaded = read_image(tmp_path / "a.jpg")
    assert b"\xff\xd8\xff" not in loaded.exif
    assert set(written(loaded, tmp_path / "b.jpg")) == {0x0131}


def test_directories_that_are_loops_end(tmp_path):
    exif = bytearray(
        block("<", {0x0131: text("Software")}, {INTEROP: Entry(4, 1, bytes(4)), 0x8827: shorts("<", 5)})
    )
    main = struct.unpack_from("<I", exif, 10)[0]
    camera = main + 2 + 12 + 8  # the pointer's place, to be pointed at the first directory itself
    struct.pack_into("<I", exif, 6 + camera, main)
    image = read_image(save(tmp_path / "a.jpg", bytes(exif)))
    found = written(image, tmp_path / "b.png")
    assert found[0x0131] == "Software"


@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
def test_any_damage_costs_tags_and_never_the_image(tmp_path, rng, source):
    camera = {0x8827: shorts(">", 5), INTEROP: Entry(4, 1, bytes(4))}
    whole = block(">", {0x010F: text("Maker"), 0x0131: text("Software")}, camera, {1: text("N")})
    noted = 0
    for _ in range(120):
        data = bytearray(whole)
        for at in rng.integers(14, len(data), 4):
            data[at] = rng.integers(256)
        image = read_image(save(tmp_path / f"a.{source}", bytes(data)))
        assert sorted(image.pixels.shape[:2]) == [12, 16]
        noted += bool(image.notes)
        if image.exif:
            assert parse_exif(image.exif).damaged == 0
        for target in ("png", "tif"):
            write_image(image, tmp_path / f"b.{target}")
            again = read_image(tmp_path / f"b.{target}")
            assert not any("damaged" in note for note in again.notes)
    assert noted > 20


def test_an_image_whose_exif_a_caller_changed(tmp_path):
    save(tmp_path / "a.jpg", block("<", {0x010F: text("Maker")}))
    with Image.open(tmp_path / "a.jpg") as image:
        image.getexif()[0x0131] = "Software"
        kept = Image.Exif()
        kept.load(image_from_pil(image).exif)
    assert (kept[0x010F], kept[0x0131]) == ("Maker", "Software")
