"""PNG by rows: the same image however the rows come, and readable by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images.encoding import png_writer
from hfsr.images.encoding.png_writer import PngWriter


def _written(samples: np.ndarray, step: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    height, width, channels = samples.shape
    writer = PngWriter(
        buffer,
        width,
        height,
        channels=channels,
        bits=samples.dtype.itemsize * 8,
        **options,  # type: ignore[arg-type]
    )
    for start in range(0, height, step):
        writer.write(samples[start : start + step])
    writer.close()
    return buffer.getvalue()


@pytest.mark.parametrize("step", [1, 4, 7, 100])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pillow_reads_it(rng, channels, step, monkeypatch):
    samples = rng.integers(0, 256, (23, 17, channels), np.uint8)
    monkeypatch.setattr(png_writer, "_BAND", 100)
    data = _written(samples, step)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        np.testing.assert_array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_the_pieces_do_not_change_the_image_and_sixteen_bit_keeps_its_order(rng):
    samples = rng.integers(0, 65536, (19, 5, 1), np.uint16)
    with Image.open(io.BytesIO(_written(samples, 3))) as image:
        np.testing.assert_array_equal(np.asarray(image), samples[..., 0])


def test_profile_and_exif_are_in_it(rng):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = _written(rng.integers(0, 256, (2, 2, 3), np.uint8), 2, icc=b"profile", exif=exif.tobytes())
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["icc_profile"] == b"profile"
        assert image.getexif()[0x010F] == "Maker"


def test_smooth_images_become_small():
    y, x = np.mgrid[:64, :64]
    assert len(_written((x + y).astype(np.uint8)[..., None], 64)) < 300


def test_misuse_is_told():
    writer = PngWriter(io.BytesIO(), 4, 3, channels=3, bits=8)
    for rows in (
        np.zeros((1, 4, 4), np.uint8),
        np.zeros((1, 4, 3), np.uint16),
        np.zeros((1, 5, 3), np.uint8),
    ):
        with pytest.raises(ImageError, match=r"need uint8 of \(n, 4, 3\)"):
            writer.write(rows)
    with pytest.raises(ImageError, match="4 rows where the image has room for 3"):
        writer.write(np.zeros((4, 4, 3), np.uint8))
    writer.write(np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="lacks 1 rows"):
        writer.close()
    with pytest.raises(ImageError, match="1 to 4 channels"):
        PngWriter(io.BytesIO(), 4, 3, channels=5, bits=8)
