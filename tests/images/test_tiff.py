"""The TIFF writer, read back by Pillow and by hfsr, however its rows arrive."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from hfsr.errors import ImageError
from hfsr.images import read_image
from hfsr.images.encoding import tiff_writer
from hfsr.images.encoding.tiff_writer import TiffWriter

from . import tiff_files


def encode(samples: np.ndarray, *, band: int = 7, **options) -> bytes:
    height, width, channels = samples.shape
    file = io.BytesIO()
    bits = samples.dtype.itemsize * 8
    writer = TiffWriter(file, width, height, channels=channels, bits=bits, **options)
    for start in range(0, height, band):
        writer.write(samples[start : start + band])
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(41, 37), (1, 1), (3, 70)])
def test_every_kind_is_read_back(tmp_path, rng, monkeypatch, channels, dtype, size):
    monkeypatch.setattr(tiff_writer, "_STRIP", 1000)  # several strips, whose rows are no multiple of a band's
    samples = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    path = tmp_path / "a.tif"
    path.write_bytes(encode(samples))
    loaded = read_image(path)
    planes = loaded.pixels if loaded.alpha is None else np.dstack([loaded.pixels, loaded.alpha])
    np.testing.assert_array_equal(planes.reshape(samples.shape), samples)
    assert loaded.is_gray == (channels < 3)
    if dtype == np.uint8:
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_another_reader_agrees(tmp_path, rng, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(tiff_writer, "_STRIP", 1000)
    for channels in (1, 2, 3, 4):
        samples = rng.integers(0, 65536, (41, 37, channels), np.uint16)
        (tmp_path / "a.tif").write_bytes(encode(samples, icc=b"profile"))
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            page = file.pages[0]
            assert page.tags[34675].value == b"profile"
            assert (338 in page.tags) == (channels in (2, 4))
            np.testing.assert_array_equal(page.asarray().reshape(samples.shape), samples)


def test_profile_camera_data_and_resolution(tmp_path, rng):
    exif = Image.Exif()
    exif[0x010F], exif[282], exif[283], exif[296] = "Maker", 600.0, 600.0, 2
    exif.get_ifd(0x8769)[0x829A] = 1 / 250
    exif.get_ifd(0x8825)[1] = "N"
    samples = rng.integers(0, 65536, (5, 4, 3), np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(encode(samples, icc=b"a profile" * 99, exif=exif.tobytes()))
    image = read_image(path)
    assert image.icc == b"a profile" * 99
    kept = Image.Exif()
    kept.load(image.exif)
    assert (kept[0x010F], kept[282], kept[296]) == ("Maker", 600.0, 2)
    assert float(kept.get_ifd(0x8769)[0x829A]) == pytest.approx(1 / 250)
    assert kept.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_is_turned_upright(tmp_path, rng, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    samples = rng.integers(0, 65536, (4, 6, 3), np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(encode(samples, exif=exif.tobytes()))
    image = read_image(path)
    for channel in range(3):
        flat = Image.fromarray((samples[..., channel] >> 8).astype(np.uint8))
        flat.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(flat))
        np.testing.assert_array_equal(image.pixels[..., channel] >> 8, upright)
    assert np.sort(image.pixels, axis=None).tolist() == np.sort(samples, axis=None).tolist()


def test_wrong_rows_are_refused(rng):
    rows = rng.integers(0, 255, (3, 4, 3), np.uint8)
    writer = TiffWriter(io.BytesIO(), 4, 2, channels=3, bits=8)
    for wrong, message in (
        (rows, "3 rows where the image has room for 2"),
        (rows[:1].astype(np.uint16), "rows are uint16"),
        (rows[:1, :2], "need uint8"),
    ):
        with pytest.raises(ImageError, match=message):
            writer.write(wrong)
    writer.write(rows[:1])
    with pytest.raises(ImageError, match="lacks 1 rows"):
        writer.close()
    with pytest.raises(ImageError, match="1 to 4 channels"):
        TiffWriter(io.BytesIO(), 4, 2, channels=5, bits=8)


def test_past_the_format_s_four_gibibytes(rng, monkeypatch):
    monkeypatch.setattr(tiff_writer, "_LIMIT", 500)
    monkeypatch.setattr(tiff_writer, "_STRIP", 100)
    with pytest.raises(ImageError, match=r"at most 4 GiB.*choose .png"):
        encode(rng.integers(0, 65536, (40, 40, 3), np.uint16))


def test_tiles_larger_than_the_limit_are_refused(tmp_path):
    """A decoder allocates whole tiles: a file of some bytes could ask for gigabytes."""
    data = bytearray(tiff_files.encode(np.zeros((48, 64, 3), np.uint8), 8, tile=(16, 16)))
    for tag in (322, 323):
        at = next(data.find(entry) for kind in (3, 4) if (entry := struct.pack("<HHI", tag, kind, 1)) in data)
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 1 << 16)
    path = tmp_path / "t.tif"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"has tiles of 4,294,967,296 px, over the limit of .*--max-pixels"):
        read_image(path)
