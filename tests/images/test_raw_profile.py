"""Metadata in the hexadecimal texts of ImageMagick's PNGs."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from hfsr.images import read_image

from .conftest import chunk, encode_png

IPTC = bytes.fromhex("1c020500046162636400")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RESOURCES = (
    struct.pack(">4sH4sI", b"8BIM", 0x03ED, b"\3abc", 3)
    + b"xyz\0"
    + struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC))
    + IPTC
)


def exif() -> bytes:
    block = Image.Exif()
    block[271], block[274] = "Maker", 6
    return block.tobytes()


def raw(kind: str, data: bytes, *, name: bytes = b"tEXt", size: int | None = None) -> bytes:
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(data) if size is None else size:8}\n{lines}\n".encode()
    packed = {b"tEXt": text, b"zTXt": b"\0" + zlib.compress(text), b"iTXt": bytes(4) + text}[name]
    return chunk(name, f"Raw profile type {kind}".encode() + b"\0" + packed)


def png(*chunks: bytes) -> bytes:
    return encode_png(np.zeros((3, 5, 3), np.uint8), 2, extra=b"".join(chunks))


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt"])
class TestContents:
    @pytest.mark.parametrize("data", [IPTC, RESOURCES, b"Photoshop 3.0\0" + RESOURCES])
    def test_iptc(self, name, data):
        image = read_image(png(raw("iptc", data, name=name)))
        assert (image.iptc, image.notes, image.texts) == (IPTC, (), ())

    def test_iptc_among_resources(self, name):
        assert read_image(png(raw("8bim", RESOURCES, name=name))).iptc == IPTC

    @pytest.mark.parametrize(("kind", "prefix"), [("xmp", b""), ("APP1", b"http://ns.adobe.com/xap/1.0/\0")])
    def test_xmp(self, name, kind, prefix):
        image = read_image(png(raw(kind, prefix + XMP, name=name)))
        assert (image.xmp, image.exif, image.notes) == (XMP, None, ())

    @pytest.mark.parametrize("kind", ["exif", "APP1"])
    def test_exif_and_its_orientation(self, name, kind):
        image = read_image(png(raw(kind, exif(), name=name)))
        assert (image.width, image.height, image.notes) == (3, 5, ())
        found = Image.Exif()
        found.load(image.exif)
        assert (found[271], found[274]) == ("Maker", 1)

    @pytest.mark.parametrize("kind", ["icc", "icm"])
    def test_profile(self, name, kind):
        assert read_image(png(raw(kind, SRGB, name=name))).icc == SRGB


def test_a_chunk_of_the_format_goes_before():
    itxt = chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes(4) + XMP)
    image = read_image(png(raw("xmp", b"<other/>"), itxt, chunk(b"iCCP", b"a\0\0" + zlib.compress(SRGB))))
    assert (image.xmp, image.icc) == (XMP, SRGB)


@pytest.mark.parametrize(
    ("chunk_data", "note"),
    [
        (raw("iptc", IPTC, size=11), "its raw profile 'iptc' is damaged and was left out"),
        (raw("iptc", b"no records"), "its raw profile 'iptc' was left out"),
        (raw("app12", b"data"), "its raw profile 'app12' was left out"),
        (
            chunk(b"tEXt", b"Raw profile type xmp\0\nxmp\n  2\n3c3\n"),
            "its raw profile 'xmp' is damaged and was left out",
        ),
        (
            chunk(b"zTXt", b"Raw profile type xmp\0\0broken"),
            "its raw profile 'xmp' is damaged and was left out",
        ),
    ],
)
def test_the_rest_is_a_note(chunk_data, note):
    image = read_image(png(chunk_data))
    assert (image.iptc, image.xmp, image.notes) == (None, None, (note,))


def test_damaged_resources_have_no_records():
    for data in (RESOURCES[:8], RESOURCES[:14], RESOURCES[:20], RESOURCES[:26]):
        assert read_image(png(raw("8bim", data))).iptc is None
