"""Chunks of a PNG: transparency of any depth, and chunks over which Pillow alone would refuse the file."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from hfsr.images import LoadedImage, fitted, read_image, write_image

from .conftest import chunk, encode_png

SAMPLES = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>%s</a></x:xmpmeta>'


def packed_png(values: np.ndarray, depth: int, color_type: int, extra: bytes) -> bytes:
    """A PNG of integers (H, W) with few bits."""
    height, width = values.shape
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    whole = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def read(tmp_path, data: bytes):
    (tmp_path / "a.png").write_bytes(data)
    return read_image(tmp_path / "a.png")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_gray_of_any_depth(tmp_path, depth):
    values = np.arange(64).reshape(8, 8) % (1 << depth)
    for key in {0, 1, (1 << depth) - 1, (1 << depth) // 2}:
        extra = chunk(b"tRNS", struct.pack(">H", key))
        image = read(tmp_path, packed_png(values, depth, 0, extra))
        np.testing.assert_array_equal(image.alpha, np.where(values == key, 0, 255))
        np.testing.assert_array_equal(image.pixels, values * 255 // ((1 << depth) - 1))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_only_the_bits_of_a_sample_count(tmp_path, depth):
    values = np.arange(64).reshape(8, 8) % (1 << depth)
    image = read(tmp_path, packed_png(values, depth, 0, chunk(b"tRNS", struct.pack(">H", 0x0100 | 1))))
    np.testing.assert_array_equal(image.alpha, np.where(values == 1, 0, 255))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_of_any_depth_keeps_its_alpha(tmp_path, depth):
    count = 1 << depth
    values = np.arange(64).reshape(8, 8) % count
    alpha = np.linspace(0, 255, count).astype(np.uint8)
    colors = np.random.default_rng(1).integers(0, 256, (count, 3), np.uint8)
    extra = chunk(b"PLTE", colors.tobytes()) + chunk(b"tRNS", alpha.tobytes())
    image = read(tmp_path, packed_png(values, depth, 3, extra))
    np.testing.assert_array_equal(image.alpha, alpha[values])
    np.testing.assert_array_equal(image.pixels, colors[values])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_transparent_color(tmp_path, dtype):
    samples = SAMPLES.astype(dtype)
    key = [int(value) for value in samples[2, 3]]
    high = 0x0100 if dtype == np.uint8 else 0
    extra = chunk(b"tRNS", struct.pack(">3H", *(value | high for value in key)))
    alpha = read(tmp_path, encode_png(samples, 2, extra=extra)).alpha
    expected = np.where((samples == key).all(-1), 0, np.iinfo(dtype).max)
    np.testing.assert_array_equal(alpha, expected)


def srgb(padding: int = 0) -> bytes:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + os.urandom(padding)
    return struct.pack(">I", len(icc)) + icc[4:]


LARGE = srgb(1_500_000)
WRONG = b"\0\1\2\3"
INTERNATIONAL = b"XML:com.adobe.xmp\0%s\0\0\0"
CASES = {
    "zTXt": (chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"a" * 1_400_000)), ()),
    "zTXt bomb": (chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(200 << 20))), ()),
    "zTXt damaged": (chunk(b"zTXt", b"workflow\0\0not deflate"), ()),
    "tEXt": (chunk(b"tEXt", b"prompt\0" + b"a" * 1_400_000), ()),
    "many texts": (chunk(b"tEXt", b"prompt\0" + b"a" * 500_000) * 140, ()),
    "iTXt": (chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"a" * 1_400_000)), ()),
    "wrong CRC of a text": (chunk(b"tEXt", b"a\0xx")[:-4] + WRONG, ()),
    "wrong CRC of gamma": (
        chunk(b"gAMA", struct.pack(">I", 100_000))[:-4] + WRONG, ("its damaged chunk gAMA was left out",)
    ),
    **{
        f"{name.decode()} of {size} bytes": (
            chunk(name, bytes(size)), (f"its damaged chunk {name.decode()} was left out",)
        )
        for name, size in ((b"gAMA", 2), (b"cHRM", 3), (b"sRGB", 0), (b"pHYs", 4), (b"tRNS", 5), (b"cICP", 9))
    },
    "wrong CRC of a private chunk": (chunk(b"prVt", b"xx")[:-4] + WRONG, ()),
    "profile bomb": (
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(200 << 20))),
        ("its color profile is damaged, or larger than 64 MiB, and was left out",),
    ),
    "XMP bomb": (
        chunk(b"iTXt", INTERNATIONAL % b"\1" + zlib.compress(bytes(200 << 20))),
        ("its XMP is damaged, or larger than 64 MiB, and was left out",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_of_a_png_do_not_depend_on_its_other_chunks(tmp_path, name):
    extra, notes = CASES[name]
    image = read(tmp_path, encode_png(SAMPLES, 2, extra=extra))
    np.testing.assert_array_equal(image.pixels, SAMPLES)
    assert image.notes == notes
    assert image.icc is image.xmp is None


def test_a_large_profile_arrives(tmp_path):
    image = read(tmp_path, encode_png(SAMPLES, 2, extra=chunk(b"iCCP", b"p\0\0" + zlib.compress(LARGE))))
    assert image.icc == LARGE
    write_image(image, tmp_path / "b.png")
    again = read_image(tmp_path / "b.png")
    assert again.icc == LARGE
    np.testing.assert_array_equal(again.pixels, SAMPLES)


@pytest.mark.parametrize("compressed", [False, True])
def test_large_xmp_arrives(tmp_path, compressed):
    xmp = XMP % (b"x" * 3_000_000)
    body = zlib.compress(xmp) if compressed else xmp
    extra = chunk(b"iTXt", INTERNATIONAL % (b"\1" if compressed else b"\0") + body)
    image = read(tmp_path, encode_png(SAMPLES, 2, extra=extra))
    assert image.xmp == xmp
    write_image(image, tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").xmp == xmp


def test_own_results_with_everything_large_are_read(tmp_path):
    image = LoadedImage(SAMPLES, icc=LARGE, xmp=XMP % (b"x" * 2_000_000))
    for suffix in ("png", "tif", "webp"):
        write_image(image, tmp_path / f"a.{suffix}")
        again = read_image(tmp_path / f"a.{suffix}")
        assert (again.icc, again.xmp) == (image.icc, image.xmp)


def test_a_wrong_checksum_of_the_pixels_is_still_damage(tmp_path):
    from hfsr.errors import ImageError

    data = encode_png(SAMPLES, 2)
    at = data.index(b"IDAT") + 20
    with pytest.raises(ImageError, match="damaged"):
        read(tmp_path, data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])


def test_pillow_s_limits_are_left_alone(tmp_path):
    from PIL import PngImagePlugin

    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    read(tmp_path, encode_png(SAMPLES, 2, extra=CASES["zTXt"][0]))
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    with (
        pytest.raises(ValueError, match="too large"),
        Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image,
    ):
        image.load()


TEXTS = (
    chunk(b"tEXt", b"parameters\0a cat, steps: 20")
    + chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"{}" * 900_000))
    + chunk(b"iTXt", "Title\0\0\0de\0Titel\0Größe".encode())
)


def test_texts_stay_in_a_png_byte_for_byte(tmp_path):
    stale = chunk(b"tEXt", b"Thumb::Image::Width\x0090") + chunk(
        b"tEXt", b"Raw profile type 8bim\0\n8bim\n 2\n0000"
    )
    image = read(tmp_path, encode_png(SAMPLES, 2, extra=TEXTS + stale))
    assert fitted(image, "PNG").notes == ()
    write_image(image, tmp_path / "b.png")
    assert TEXTS in (tmp_path / "b.png").read_bytes()
    assert b"Thumb::" not in (tmp_path / "b.png").read_bytes()
    assert read_image(tmp_path / "b.png").texts == image.texts


def test_texts_that_other_formats_have_no_place_for_are_named(tmp_path):
    image = read(tmp_path, encode_png(SAMPLES, 2, extra=TEXTS))
    for name in ("JPEG", "TIFF", "WEBP", "AVIF", "BMP"):
        assert fitted(image, name).notes == (
            f"its PNG texts (parameters, workflow, Title) were left out: {name} cannot store them",
        )


def test_pixels_that_are_not_square_are_named(tmp_path):
    extra = chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0))
    note = "its pixels are not square (2:1), which the result does not state"
    assert read(tmp_path, encode_png(SAMPLES, 2, extra=extra)).notes == (note,)
    square = chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0))
    assert read(tmp_path, encode_png(SAMPLES, 2, extra=square)).notes == ()


def test_comments_are_named(tmp_path):
    Image.fromarray(SAMPLES).save(tmp_path / "a.jpg", comment=b"by hand")
    assert read_image(tmp_path / "a.jpg").notes == ("the comment of its JPEG was left out",)
