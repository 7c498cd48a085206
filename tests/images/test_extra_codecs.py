"""JPEG XL, AVIF of more than 8 bit and HEIC: by optional packages, each named where it is missing.

Tests of the packages themselves are skipped where they are not installed.
"""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images import formats, image_bits, image_size, read_image
from hfsr.images.compression import read_compression
from hfsr.images.decoding import extra_codecs
from hfsr.images.decoding.jxl_header import read_jxl_header

SHAPE = (20, 27)
HEIC_START = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(40)
JXL_START = bytes.fromhex("ff0a980034804804 0104 00c1".replace(" ", ""))  # 27x20 px, as libjxl begins it


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def contained(codestream: bytes, *more: bytes) -> bytes:
    """A JPEG XL container with further boxes."""
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return start + b"".join(more) + box(b"jxlc", codestream)


@pytest.mark.parametrize(("data", "name", "extra"), [(HEIC_START, "pillow-heif", "heic")])
def test_a_missing_package_is_named(monkeypatch, data, name, extra):
    monkeypatch.setattr(extra_codecs, "has_package", lambda _: False)
    with pytest.raises(ImageError, match=f"needs {name}, which is not installed; run: pip install .*{extra}"):
        read_image(data)


def test_a_missing_package_for_jpeg_xl_is_named(monkeypatch):
    monkeypatch.setattr(extra_codecs, "has_package", lambda _: False)
    assert image_size(JXL_START) == (27, 20)
    with pytest.raises(
        ImageError, match="reading JPEG XL needs imagecodecs, which is not installed; run: pip"
    ):
        read_image(JXL_START)


class TestHeaderOfJpegXl:
    def test_all_is_default_in_a_small_lossy_file(self):
        fields = 1 | 2 << 1 | 2 << 6 | 1 << 9  # small, 8 * (2 + 1) rows, 12:10, the rest is default
        header = read_jxl_header(io.BytesIO(b"\xff\x0a" + fields.to_bytes(2, "little")))
        assert header is not None
        assert (header.width, header.height, header.bits) == (28, 24, 8)
        assert header.is_lossy

    def test_inks_are_refused(self):
        fields = [
            *((1, 1), (2, 5), (1, 3)),  # 24 rows, square
            *((0, 2), (0, 1), (0, 2), (1, 1)),  # neither default nor rotated, integers of 8 bit
            *((1, 2), (0, 1), (2, 2), (2, 4), (0, 1), (0, 2), (0, 2), (0, 2)),  # one extra channel: black
            *((0, 1), (1, 1)),  # not XYB, sRGB
        ]
        bits, at = 0, 0
        for value, count in fields:
            bits, at = bits | value << at, at + count
        data = b"\xff\x0a" + bits.to_bytes(8, "little")
        header = read_jxl_header(io.BytesIO(data))
        assert header is not None
        assert (header.width, header.height, header.is_cmyk, header.has_alpha) == (24, 24, True, False)
        with pytest.raises(ImageError, match="a JPEG XL of CMYK; convert it to RGB"):
            read_image(data)

    def test_other_files(self):
        for data in (b"", b"\xff", b"\x89PNG", HEIC_START):
            assert read_jxl_header(io.BytesIO(data)) is None
        for data in (b"\xff\x0a", JXL_START[:4], contained(b"")):
            with pytest.raises(EOFError):
                read_jxl_header(io.BytesIO(data))
            with pytest.raises(ImageError, match=r"damaged or cut short \(it begins as a JPEG XL"):
                read_image(data)

    def test_metadata_in_boxes(self):
        exif = Image.Exif()
        exif[271], exif[274] = "Maker", 6
        tiff = exif.tobytes().removeprefix(b"Exif\0\0")
        boxes = [
            box(b"Exif", bytes(4) + tiff),
            box(b"xml ", b"<x/>"),
            box(b"brob", b"xml x"),
            box(b"jbrd", b"x"),
        ]
        header = read_jxl_header(io.BytesIO(contained(JXL_START, *boxes)))
        assert header is not None
        assert (header.exif, header.xmp) == (b"Exif\0\0" + tiff, b"<x/>")
        assert header.has_packed
        assert header.is_lossy


class TestJpegXl:
    @pytest.mark.parametrize(
        ("dtype", "channels"), [("u1", 1), ("u1", 3), ("u1", 4), ("u2", 1), ("u2", 2), ("u2", 3), ("u2", 4)]
    )
    @pytest.mark.parametrize("size", [SHAPE, (8, 8), (300, 400), (64, 128), (9, 700)])
    def test_pixels_depth_and_size(self, rng, dtype, channels, size):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
        data = codec.jpegxl_encode(samples.squeeze(), lossless=True)
        image = read_image(data)
        assert (image.format, image.notes) == ("JXL", ())
        assert image_size(data) == (size[1], size[0]) == (image.width, image.height)
        assert image_bits(data) == image.bits == 8 * np.dtype(dtype).itemsize
        colors = samples[..., : 1 if channels < 3 else 3].squeeze(-1 if channels < 3 else ())
        np.testing.assert_array_equal(image.pixels, colors)
        assert (image.alpha is None) == (channels in (1, 3))
        if image.alpha is not None:
            np.testing.assert_array_equal(image.alpha, samples[..., -1])
        assert not read_compression(data).is_lossy

    @pytest.mark.parametrize("bits", [1, 4, 7, 9, 10, 12, 15])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_every_depth_fills_the_range(self, rng, bits, channels):
        codec = pytest.importorskip("imagecodecs")
        white, kind = (1 << bits) - 1, "u1" if bits <= 8 else "u2"
        samples = rng.integers(0, white, (*SHAPE, channels), kind, endpoint=True)
        samples[0, 0] = white
        data = codec.jpegxl_encode(samples.squeeze(), lossless=True, bitspersample=bits)
        image = read_image(data)
        peak = np.iinfo(kind).max
        expected = np.floor(samples * (peak / white) + 0.5)
        assert image.bits == image_bits(data) == (8 if bits <= 8 else 16)
        assert image.pixels.max() == peak
        np.testing.assert_array_equal(image.pixels, expected[..., : 3 if channels > 2 else 1].squeeze())
        if image.alpha is not None:
            np.testing.assert_array_equal(image.alpha, expected[..., -1])

    def test_colors_are_divided_by_their_alpha(self, rng):
        codec = pytest.importorskip("imagecodecs")
        alpha = rng.integers(0, 65536, SHAPE, "u2")
        colors = (rng.random((*SHAPE, 3)) * alpha[..., None]).astype("u2")
        data = codec.jpegxl_encode(np.dstack([colors, alpha]), lossless=True, usecontainer=False)
        image = read_image(_premultiplied(data))
        visible = alpha > 0
        straight = colors[visible] / alpha[visible][:, None] * 65535
        np.testing.assert_allclose(image.pixels[visible], straight, rtol=0, atol=0.5)
        np.testing.assert_array_equal(image.alpha, alpha)

    def test_extra_channels_are_left_out(self, rng):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.integers(0, 256, (3, *SHAPE), "u1")
        image = read_image(codec.jpegxl_encode(samples, lossless=True, photometric="gray", planar=True))
        np.testing.assert_array_equal(image.pixels, samples[0])
        assert (image.alpha, image.notes) == (None, ("2 extra channels were left out",))

    @pytest.mark.parametrize("dtype", ["f2", "f4"])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_floats_outside_the_range_are_clipped_with_a_note(self, rng, dtype, channels):
        codec = pytest.importorskip("imagecodecs")
        samples = (rng.random((*SHAPE, channels)) * 3 - 0.5).astype(dtype)
        image = read_image(codec.jpegxl_encode(samples.squeeze(), lossless=True))
        note = "its floating-point samples were rounded to 16 bit; values below 0 or above 1 were clipped"
        assert image.notes == (note,)
        expected = np.clip(samples[..., : 3 if channels > 2 else 1].squeeze().astype(float), 0, 1)
        np.testing.assert_allclose(image.pixels / 65535, expected, rtol=0, atol=1e-5)

    def test_floats_that_are_no_numbers_are_refused(self, rng):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.random((*SHAPE, 3)).astype("f4")
        samples[3, 3, 1] = np.nan
        with pytest.raises(ImageError, match="hold NaN or infinite values; replace them first"):
            read_image(codec.jpegxl_encode(samples, lossless=True))

    def test_lossy_and_float(self, rng):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.random((*SHAPE, 3)).astype("f4")
        image = read_image(codec.jpegxl_encode(samples, lossless=True))
        assert image.notes == ("its floating-point samples were rounded to 16 bit",)
        np.testing.assert_allclose(image.pixels / 65535, samples, rtol=0, atol=1e-5)
        assert read_compression(codec.jpegxl_encode((samples * 255).astype("u1"), lossless=False)).is_lossy

    def test_metadata_travel_and_the_orientation_is_that_of_the_pixels(self, rng):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.integers(0, 256, (*SHAPE, 3), "u1")
        exif = Image.Exif()
        exif[271], exif[274] = "Maker", 6
        body = bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0")
        data = contained(codec.jpegxl_encode(samples, lossless=True, usecontainer=False), box(b"Exif", body))
        image = read_image(data)
        np.testing.assert_array_equal(image.pixels, samples)
        found = Image.Exif()
        found.load(image.exif)
        assert (found[271], found[274]) == ("Maker", 1)

    def test_damage_is_one_line(self, rng):
        codec = pytest.importorskip("imagecodecs")
        data = codec.jpegxl_encode(rng.integers(0, 256, (*SHAPE, 3), "u1"))
        with pytest.raises(ImageError, match="damaged or cut short"):
            read_image(data[: len(data) // 2])

    def test_too_many_pixels_are_refused_before_decoding(self, rng):
        codec = pytest.importorskip("imagecodecs")
        data = codec.jpegxl_encode(np.zeros((100, 100), "u1"))
        with pytest.raises(ImageError, match="over the limit of 9,999"):
            read_image(data, max_pixels=9999)


class TestDeepAvif:
    @pytest.mark.parametrize("depth", [10, 12])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_all_bits_are_read(self, rng, depth, channels):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.integers(0, 1 << depth, (*SHAPE, channels), "u2")
        data = codec.avif_encode(
            samples.squeeze(), level=100, bitspersample=depth, pixelformat=None if channels == 1 else "444"
        )
        image = read_image(data)
        white = (1 << depth) - 1
        expected = (samples.astype(np.uint32) * 65535 + white // 2) // white
        assert (image.bits, image_bits(data), image.notes) == (16, 16, ())
        np.testing.assert_array_equal(image.pixels, expected[..., : 3 if channels > 1 else 1].squeeze())
        if channels == 4:
            np.testing.assert_array_equal(image.alpha, expected[..., 3])

    def test_without_the_package_8_bit_are_read_and_noted(self, rng, monkeypatch):
        codec = pytest.importorskip("imagecodecs")
        samples = rng.integers(0, 1024, (*SHAPE, 3), "u2")
        data = codec.avif_encode(samples, level=100, bitspersample=10, pixelformat="444")
        monkeypatch.setattr(extra_codecs, "has_package", lambda _: False)
        image = read_image(data)
        assert (image.bits, image.notes) == (8, ("its 10 bit were read as 8",))


class TestHeic:
    def test_pixels_and_metadata(self, rng):
        package = pytest.importorskip("pillow_heif")
        smooth = np.add.outer(np.arange(40), np.arange(60))[..., None] + np.arange(3) * 40
        exif = Image.Exif()
        exif[271], exif[274] = "Maker", 6
        buffer = io.BytesIO()
        package.from_pillow(Image.fromarray(smooth.astype(np.uint8))).save(
            buffer, quality=95, exif=exif.tobytes()
        )
        image = read_image(buffer.getvalue())
        assert (image.format, image.width, image.height) == ("HEIF", 40, 60)  # turned
        assert image_size(buffer.getvalue()) == (40, 60)
        assert np.abs(image.pixels.astype(int) - np.rot90(smooth, -1)).max() < 8
        found = Image.Exif()
        found.load(image.exif)
        assert (found[271], found.get(274, 1)) == ("Maker", 1)
        assert read_compression(buffer.getvalue()).is_lossy
        with pytest.raises(ImageError):
            read_image(buffer.getvalue()[:200])


def _premultiplied(data: bytes) -> bytes:
    """Sets the bit of a JPEG XL that says so; no encoder at hand does."""
    header = read_jxl_header(io.BytesIO(data))
    assert header is not None
    start = 8 * (data.index(b"\xff\x0a") + 2)
    for place in range(start, start + 240):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        with contextlib.suppress(EOFError):
            if read_jxl_header(io.BytesIO(changed)) == replace(header, is_premultiplied=True):
                return bytes(changed)
    raise AssertionError("the header has no such bit")


def test_suffixes_are_those_of_installed_packages():
    for suffix, package in ((".jxl", "imagecodecs"), (".heic", "pillow_heif")):
        assert (suffix in formats.SUFFIXES) == formats.has_package(package)
        assert (suffix in formats.UNSUPPORTED_SUFFIXES) != formats.has_package(package)
