"""Images that Pillow has opened: read like their files, or corrected where Pillow loses depth."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images import image_from_pil, read_image

from .conftest import chunk, encode_png
from .tiff_files import encode


def _low_depth_png(bits: int, rows: np.ndarray, key: int) -> bytes:
    """A gray PNG of 1, 2 or 4 bit with one transparent level."""
    spread = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(spread.reshape(len(rows), -1).astype(np.uint8), axis=1)
    header = struct.pack(">IIBBBBB", rows.shape[1], len(rows), bits, 0, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in packed)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", struct.pack(">H", key))
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def _twelve_bit() -> np.ndarray:
    return np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8, 1)


def _loaded(image: Image.Image) -> None:
    image.load()


def _described(image: Image.Image) -> None:
    image.info["note"] = "of the caller"


def _unchanged(image: Image.Image) -> None:
    pass


@pytest.mark.parametrize("change", [_unchanged, _described, _loaded])
class TestLikeTheFile:
    def check(self, data: bytes, change: Callable[[Image.Image], None]) -> None:
        expected = read_image(data)
        with Image.open(io.BytesIO(data)) as image:
            change(image)
            for _ in range(2):  # the first call changes nothing
                found = image_from_pil(image)
                np.testing.assert_array_equal(found.pixels, expected.pixels)
                np.testing.assert_array_equal(found.alpha, expected.alpha)

    def test_gray_of_12_bit(self, change):
        data = encode(_twelve_bit(), 12)
        assert read_image(data).pixels.max() == 65535
        self.check(data, change)

    @pytest.mark.parametrize(("bits", "key"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 3), (4, 2), (4, 15)])
    def test_the_transparent_level_of_few_bits(self, change, bits, key):
        rows = np.arange(64).reshape(8, 8) % (1 << bits)
        data = _low_depth_png(bits, rows, key)
        assert (read_image(data).alpha == 0).sum() == 64 >> bits
        self.check(data, change)

    def test_a_transparent_level_of_8_bit(self, change, rng):
        samples = rng.integers(0, 4, (8, 8, 1), np.uint8)
        self.check(encode_png(samples, 0, extra=chunk(b"tRNS", struct.pack(">H", 2))), change)

    def test_a_transparent_color_of_8_bit(self, change, rng):
        samples = rng.integers(0, 2, (8, 8, 3), np.uint8)
        self.check(encode_png(samples, 2, extra=chunk(b"tRNS", struct.pack(">3H", 1, 0, 1))), change)


class TestColorOf16Bit:
    DATA = encode_png(
        np.random.default_rng(0).integers(0, 65536, (6, 9, 3), np.uint16),
        2,
        extra=chunk(b"tRNS", struct.pack(">3H", *np.random.default_rng(0).integers(0, 65536, 3))),
    )

    def test_an_opened_file_keeps_all_bits_and_its_transparency(self):
        expected = read_image(self.DATA)
        with Image.open(io.BytesIO(self.DATA)) as image:
            found = image_from_pil(image)
        assert found.bits == 16
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.alpha, expected.alpha)

    def test_a_decoded_image_keeps_its_transparency_with_a_note(self):
        samples = np.full((2, 2, 3), (40_000, 300, 70), np.uint16)
        samples[0, 0] = 0
        data = encode_png(samples, 2, extra=chunk(b"tRNS", struct.pack(">3H", 40_000, 300, 70)))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            found = image_from_pil(image)
        np.testing.assert_array_equal(found.alpha, [[255, 0], [0, 0]])
        assert found.notes == (
            "its transparent color was compared in 8 bit, to which Pillow has reduced the image",
        )


def test_the_depth_of_a_file_is_not_guessed():
    samples = np.full((4, 4, 1), 170, np.uint8)  # a level of 2 bit
    data = encode_png(samples, 0, extra=chunk(b"tRNS", struct.pack(">H", 2)))
    assert (read_image(data).alpha == 255).all()


def test_changed_metadata_are_kept():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[271] = "Maker"
    Image.new("RGB", (4, 6)).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        image.getexif()[274] = 6
        found = image_from_pil(image)
        assert (found.width, found.height) == (6, 4)
    with Image.open(buffer) as image:
        image.info["icc_profile"] = b"profile"
        assert image_from_pil(image).icc == b"profile"


def test_pages_after_the_first_and_animations_are_those_of_pillow():
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    for kind in ("TIFF", "PNG"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        with Image.open(buffer) as image:
            image.seek(2)
            assert image_from_pil(image).pixels[0, 0, 0] == 180
        with Image.open(buffer) as image:
            assert image_from_pil(image).pixels[0, 0, 0] == 0


def test_the_file_of_the_caller_stays_open_at_its_place(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(encode(_twelve_bit(), 12))
    with Image.open(path) as image:
        image_from_pil(image)
        assert np.asarray(image).max() == 4095


@pytest.mark.parametrize(("dtype", "bits"), [("i1", 8), ("i2", 16), ("i4", 32), ("u4", 32)])
@pytest.mark.parametrize("change", [_unchanged, _loaded])
def test_samples_of_another_range_are_refused(dtype, bits, change):
    data = encode(np.arange(64).reshape(8, 8, 1).astype(dtype), bits, kind=2 if dtype[0] == "i" else 1)
    with Image.open(io.BytesIO(data)) as image:
        change(image)
        with pytest.raises(ImageError, match=r"(signed|32-bit) integers.*; convert it to unsigned"):
            image_from_pil(image)
