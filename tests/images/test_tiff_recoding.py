"""TIFFs that Pillow mixes up: planes of each kind of color, YCbCr without compression, WebP."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import hfsr.images.decoding.tiff_recoding as recoding
from hfsr.errors import ImageError
from hfsr.images import image_bits, image_size, read_image

from .tiff_files import encode, finish

SHAPE = (20, 24)
KINDS = {
    "gray, alpha": (1, 2, (2,), 8),
    "RGB": (2, 3, (), 8),
    "RGB, alpha": (2, 4, (2,), 8),
    "RGB, premultiplied alpha": (2, 4, (1,), 8),
    "RGB, premultiplied alpha, 16 bit": (2, 4, (1,), 16),
    "RGB, alpha and more": (2, 5, (2, 0), 8),
    "RGB, more and alpha": (2, 5, (0, 2), 8),
    "CMYK": (5, 4, (), 8),
    "CMYK, 16 bit": (5, 4, (), 16),
    "YCbCr": (6, 3, (), 8),
    "Lab": (8, 3, (), 8),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {}, {"deflate": True}, {"deflate": True, "predictor": True}, {"tile": (16, 16)}, {"strip_rows": 7},
        {"big": True}, {"order": ">"}, {"order": ">", "deflate": True, "big": True, "strip_rows": 7},
    ],
)  # fmt: skip
def test_planes_are_read_like_interleaved_samples(rng, kind, options):
    photometric, channels, extra, bits = KINDS[kind]
    samples = rng.integers(0, 1 << bits, (*SHAPE, channels), f"u{bits // 8}")
    tags = {530: (3, [1, 1])} if photometric == 6 else {}
    planes, together = (
        encode(samples, bits, photometric=photometric, extra=extra, tags=tags, planes=planes, **how)
        for planes, how in ((True, options), (False, {"deflate": True}))
    )
    read, expected = read_image(planes), read_image(together)
    np.testing.assert_array_equal(read.pixels, expected.pixels)
    if expected.alpha is None:
        assert read.alpha is None
    else:
        np.testing.assert_array_equal(read.alpha, expected.alpha)
    assert read.notes == expected.notes
    assert image_bits(planes) == read.bits == expected.bits
    assert image_size(planes) == SHAPE[::-1]


@pytest.mark.parametrize("kind", ["gray, alpha", "RGB, alpha and more", "CMYK", "Lab"])
@pytest.mark.parametrize("big", [False, True])
def test_planes_keep_metadata_and_are_turned_once(rng, kind, big):
    photometric, channels, extra, bits = KINDS[kind]
    samples = rng.integers(0, 256, (*SHAPE, channels), np.uint8)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    tags = {271: (2, b"Maker\0"), 274: (3, [6]), 700: (7, xmp)}
    upright, turned = (
        read_image(
            encode(samples, bits, photometric=photometric, extra=extra, planes=True, big=big, tags=each)
        )
        for each in ({}, tags)
    )
    np.testing.assert_array_equal(turned.pixels, np.rot90(upright.pixels, 3))
    assert b"Maker\0" in turned.exif


@pytest.mark.parametrize("options", [{}, {"strip_rows": 7}, {"tile": (16, 16)}, {"big": True, "order": ">"}])
def test_uncompressed_ycbcr(rng, options):
    samples = rng.integers(0, 256, (*SHAPE, 3), np.uint8)
    plain, packed = (
        read_image(encode(samples, 8, photometric=6, tags={530: (3, [1, 1])}, deflate=deflate, **options))
        for deflate in (False, True)
    )
    np.testing.assert_array_equal(plain.pixels, packed.pixels)
    white = np.full((*SHAPE, 3), (235, 128, 128), np.uint8)
    assert np.ptp(read_image(encode(white, 8, photometric=6, tags={530: (3, [1, 1])})).pixels) == 0


@pytest.mark.parametrize(("across", "down"), [(2, 1), (2, 2), (1, 2), (4, 2)])
def test_uncompressed_ycbcr_with_fewer_samples_of_color(rng, across, down):
    height, width = 16, 24
    blocks = (height // down) * (width // across)
    data = rng.integers(0, 256, blocks * (across * down + 2), np.uint8).tobytes()
    images = []
    for compression, stored in ((1, data), (8, zlib.compress(data))):
        tags = {
            256: (4, [width]), 257: (4, [height]), 258: (3, [8, 8, 8]), 259: (3, [compression]),
            262: (3, [6]), 273: (4, [8]), 277: (3, [3]), 278: (4, [height]), 279: (4, [len(stored)]),
            530: (3, [across, down]),
        }  # fmt: skip
        images.append(read_image(finish(bytes(8) + stored, tags, "<", False)))
    np.testing.assert_array_equal(images[0].pixels, images[1].pixels)


def test_planes_of_different_sizes_are_refused(rng):
    samples = rng.integers(0, 256, (*SHAPE, 3), np.uint8)
    with pytest.raises(ImageError, match="planes have different sizes; save it with interleaved"):
        read_image(encode(samples, 8, photometric=6, planes=True))


def test_unsupported_planes_are_described(rng):
    samples = rng.integers(0, 65536, (*SHAPE, 3), np.uint16)
    with pytest.raises(ImageError, match=r"not supported \(TIFF, Lab, 16 bit\); convert it to RGB"):
        read_image(encode(samples, 16, photometric=8, planes=True))


def webp_tiff(image: Image.Image, tile: int | None = None) -> bytes:
    """A TIFF whose one strip, or whose tiles, are lossless WebP."""
    width, height = image.size
    corners = [(0, 0)]
    if tile is not None:
        corners = [(x, y) for y in range(0, height, tile) for x in range(0, width, tile)]
    body, offsets, counts = bytes(8), [], []
    for left, top in corners:
        file = io.BytesIO()
        piece = image if tile is None else image.crop((left, top, left + tile, top + tile))
        piece.save(file, "WEBP", lossless=True, exact=True)
        offsets.append(len(body))
        counts.append(len(file.getvalue()))
        body += file.getvalue()
    channels = len(image.getbands())
    tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8] * channels), 259: (3, [50001]), 262: (3, [2]),
        277: (3, [channels]), 284: (3, [1]),
    }  # fmt: skip
    tags |= {338: (3, [2])} if channels == 4 else {}
    if tile is None:
        tags |= {273: (4, offsets), 278: (4, [height]), 279: (4, counts)}
    else:
        tags |= {322: (4, [tile]), 323: (4, [tile]), 324: (4, offsets), 325: (4, counts)}
    return finish(body, tags, "<", False)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_webp_inside_is_decoded_by_pillow(rng, capfd, channels, tile):
    samples = rng.integers(0, 256, (*SHAPE, channels), np.uint8)
    data = webp_tiff(Image.fromarray(samples), tile)
    image = read_image(data)
    np.testing.assert_array_equal(image.pixels, samples[..., :3])
    assert (image.alpha is None) == (channels == 3)
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(data.replace(b"VP8", b"XXX"))
    wrong = data.replace(struct.pack("<HHII", 257, 4, 1, 20), struct.pack("<HHII", 257, 4, 1, 19))
    if tile is None:
        with pytest.raises(ImageError, match="damaged or cut short"):
            read_image(wrong)
    assert capfd.readouterr() == ("", "")


def test_webp_is_named_where_pillow_lacks_it(rng, capfd, monkeypatch):
    monkeypatch.setattr(recoding.features, "check", lambda name: False)
    data = webp_tiff(Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), np.uint8)))
    with pytest.raises(ImageError, match=r"compressed by WebP \(TIFF, RGB, 8 bit\); save it with LZW"):
        read_image(data)
    assert capfd.readouterr() == ("", "")


def test_webp_of_another_color_than_rgb_is_refused(rng):
    data = webp_tiff(Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), np.uint8)))
    photometric = data.index(struct.pack("<HHI", 262, 3, 1))
    ycbcr = data[: photometric + 8] + struct.pack("<H", 6) + data[photometric + 10 :]
    with pytest.raises(ImageError, match=r"not supported \(TIFF, YCbCr, 8 bit\)"):
        read_image(ycbcr)
