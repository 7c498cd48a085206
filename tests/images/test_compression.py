"""The compression that the header of a file tells."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, features

from hfsr.errors import ImageError
from hfsr.images.compression import read_compression

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_is_the_one_that_pillow_was_given(tmp_path, quality):
    IMAGE.save(tmp_path / "a.jpg", quality=quality, subsampling=quality % 3)
    found = read_compression(tmp_path / "a.jpg")
    assert (found.format, found.is_lossy) == ("JPEG", True)
    assert found.quality == quality or quality <= 2  # tables of 1 and 2 are full of 255 alike


def test_gray_and_progressive_files_and_tables_of_other_programs(tmp_path):
    IMAGE.convert("L").save(tmp_path / "gray.jpg", quality=60, progressive=True)
    assert read_compression(tmp_path / "gray.jpg").quality == 60
    IMAGE.save(tmp_path / "keep.jpg", qtables="web_high")
    assert 85 <= read_compression(tmp_path / "keep.jpg").quality <= 100
    IMAGE.save(tmp_path / "low.jpg", qtables="web_low")
    assert read_compression(tmp_path / "low.jpg").quality < 60


@pytest.mark.parametrize(
    ("name", "options", "is_lossy"),
    [
        ("a.png", {}, False),
        ("a.bmp", {}, False),
        ("a.gif", {}, False),
        ("a.tif", {}, False),
        ("b.tif", {"compression": "tiff_lzw"}, False),
        ("c.tif", {"compression": "jpeg"}, True),
        ("a.webp", {"quality": 90}, True),
        ("b.webp", {"lossless": True}, False),
        ("c.webp", {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, False),
        ("d.webp", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, True),
    ],
)
def test_lossy_or_lossless(tmp_path, name, options, is_lossy):
    IMAGE.save(tmp_path / name, **options)
    found = read_compression(tmp_path / name)
    assert found.is_lossy is is_lossy
    assert found.quality is None


def test_the_content_decides_and_not_the_ending(tmp_path):
    IMAGE.save(tmp_path / "a.png", "JPEG", quality=70)
    assert read_compression(tmp_path / "a.png").quality == 70


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_lossy(tmp_path):
    IMAGE.save(tmp_path / "a.avif")
    assert read_compression(tmp_path / "a.avif").is_lossy


def test_what_is_no_image_is_one_line(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    with pytest.raises(ImageError, match="is not an image"):
        read_compression(tmp_path / "a.jpg")
