"""Messages about files that no decoder opens."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images import read_image


def message(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        read_image(data)
    return str(error.value).removeprefix("'<bytes>' ")


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("missing", [1, 100])
def test_a_webp_that_is_cut_short(lossless, missing):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=lossless)
    data = buffer.getvalue()
    size = len(data)
    note = f"(a WebP of {size:,} bytes, of which {size - missing:,} are there)"
    assert message(data[:-missing]) == f"is damaged or cut short {note}; get the file again"


def jpeg(frame: int, depth: int) -> bytes:
    """The headers of a gray JPEG of 8x8 px."""
    start = b"\xff\xd8" + b"\xff\xe0" + struct.pack(">H5sHBHHBB", 16, b"JFIF\0", 0x0101, 0, 1, 1, 0, 0)
    frame_data = struct.pack(">BHHBBBB", depth, 8, 8, 1, 1, 0x11, 0)
    return start + b"\xff" + bytes([frame]) + struct.pack(">H", 2 + len(frame_data)) + frame_data + bytes(99)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (jpeg(0xC1, 12), "a JPEG of 12 bit, and only 8 bit are supported"),
        (jpeg(0xC3, 16), "a lossless JPEG of 16 bit, and only 8 bit are supported"),
        (jpeg(0xC5, 8), "a hierarchical JPEG, which is not supported"),
        (jpeg(0xF7, 8), "a JPEG-LS, which is not supported"),
    ],
)
def test_kinds_of_jpeg(data, kind):
    assert message(data) == f"cannot be read: it is {kind}; convert it to a PNG or TIFF"


def test_a_jpeg_of_12_bit():
    codec = pytest.importorskip("imagecodecs")
    samples = np.random.default_rng(0).integers(0, 4096, (16, 16, 3), np.uint16)
    assert "it is a JPEG of 12 bit, and only 8 bit" in message(codec.jpeg8_encode(samples, bitspersample=12))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, f"it begins as a {kind}") for kind in ("PNG", "JPEG", "AVIF")),
        ("TIFF", "a TIFF without a complete directory"),
    ],
)
def test_the_start_of_a_format_that_is_read(kind, reason):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    assert message(buffer.getvalue()[:40]) == f"is damaged or cut short ({reason}); get the file again"


def test_formats_that_are_not_read():
    marks = {b"8BPS\0\1": "a Photoshop file", b"v/1\x01\2\0": "OpenEXR", b"PK\3\4": "a ZIP archive"}
    for start, name in marks.items():
        text = message(start + bytes(99))
        assert text.startswith(f"is not an image that hfsr reads: it is {name}; readable are PNG, JPEG, ")
