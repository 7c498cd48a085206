"""A TIFF is read by what its tags say of the samples, or refused by a line that says it."""

from __future__ import annotations

import numpy as np
import pytest

from hfsr.errors import ImageError
from hfsr.images import image_bits, image_size, read_image

from .tiff_files import encode

SHAPE = (21, 19)


def samples_of(rng, bits: int, channels: int) -> np.ndarray:
    samples = rng.integers(0, 1 << bits, (*SHAPE, channels), np.uint16).astype(f"u{1 if bits <= 8 else 2}")
    samples[0, 0], samples[0, 1] = 0, (1 << bits) - 1  # black and white
    return samples


def full_range(samples: np.ndarray, bits: int) -> np.ndarray:
    peak = 255 if bits <= 8 else 65535
    return np.floor(samples.astype(float) * peak / ((1 << bits) - 1) + 0.5)


def read(tmp_path, data: bytes):
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    image = read_image(path)
    assert image_size(path) == (image.width, image.height)
    assert image_bits(path) == image.bits
    return image


@pytest.mark.parametrize("layout", ["strip", "strips", "tiles", "planes", "planes in tiles"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [2, 4, 5, 6, 8, 10, 12, 14, 16])
def test_every_depth_reaches_white(tmp_path, rng, bits, channels, layout):
    samples = samples_of(rng, bits, channels)
    image = read(
        tmp_path,
        encode(
            samples,
            bits,
            order="<>"[bits % 4 == 0],
            planes="planes" in layout and channels > 1,
            strip_rows=5 if layout == "strips" else None,
            tile=(16, 16) if "tiles" in layout else None,
        ),
    )
    expected = full_range(samples, bits)
    np.testing.assert_array_equal(image.pixels, expected[..., 0] if channels == 1 else expected)
    assert image.pixels.max() == (255 if bits <= 8 else 65535)
    assert image.notes == ()
    assert image.exif is None


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_compressed_planes_of_sixteen_bit(tmp_path, rng, order, tile, predictor):
    samples = samples_of(rng, 16, 3)
    data = encode(
        samples, 16, order=order, planes=True, deflate=True, tile=tile, strip_rows=4, predictor=predictor
    )
    np.testing.assert_array_equal(read(tmp_path, data).pixels, samples)


@pytest.mark.parametrize("bits", [12, 14])
def test_compressed_samples_that_are_no_bytes(tmp_path, rng, bits):
    samples = samples_of(rng, bits, 3)
    image = read(tmp_path, encode(samples, bits, deflate=True, strip_rows=6))
    np.testing.assert_array_equal(image.pixels, full_range(samples, bits))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_white_may_be_zero(tmp_path, rng, bits, order):
    samples = samples_of(rng, bits, 1)
    image = read(tmp_path, encode(samples, bits, order=order, photometric=0))
    expected = full_range(((1 << bits) - 1) - samples.astype(int), bits)
    np.testing.assert_array_equal(image.pixels, expected[..., 0])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_big_tiff_of_either_byte_order(tmp_path, rng, bits, order):
    samples = samples_of(rng, bits, 3)
    tags = {271: (2, b"Maker\0"), 274: (3, [6]), 700: (7, b"<x:xmpmeta/>")}
    image = read(tmp_path, encode(samples, bits, order=order, big=True, strip_rows=4, tags=tags))
    np.testing.assert_array_equal(image.pixels, np.rot90(full_range(samples, bits), 3))
    assert b"Maker\0" in image.exif
    assert image.xmp == b"<x:xmpmeta/>"


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    ("channels", "extra", "alpha", "left_out"),
    [
        (4, (2,), 3, 0), (4, (0,), None, 1), (5, (0, 2), 4, 1), (5, (2, 0), 3, 1), (7, (0, 0, 0, 0), None, 4),
        (2, (2,), 1, 0), (2, (0,), None, 1), (3, (0, 2), 2, 1),
    ],
)  # fmt: skip
def test_extra_channels(tmp_path, rng, bits, channels, extra, alpha, left_out):
    samples = samples_of(rng, bits, channels)
    image = read(tmp_path, encode(samples, bits, extra=extra))
    colors = channels - len(extra)
    expected = full_range(samples, bits)
    np.testing.assert_array_equal(image.pixels, expected[..., 0] if colors == 1 else expected[..., :3])
    if alpha is None:
        assert image.alpha is None
    else:
        np.testing.assert_array_equal(image.alpha, expected[..., alpha])
    note = "1 extra channel was left out" if left_out == 1 else f"{left_out} extra channels were left out"
    assert image.notes == ((note,) if left_out else ())


@pytest.mark.parametrize("bits", [8, 12])
def test_alpha_that_is_multiplied_in(tmp_path, rng, bits):
    white = (1 << bits) - 1
    color = samples_of(rng, bits, 3)
    alpha = rng.integers(white // 3, white, (*SHAPE, 1), endpoint=True)
    stored = np.dstack([np.round(color * (alpha / white)), alpha, alpha]).astype(color.dtype)
    image = read(tmp_path, encode(stored, bits, extra=(1, 0)))
    np.testing.assert_array_equal(image.alpha, full_range(alpha, bits)[..., 0])
    tolerance = 3 * (255 if bits == 8 else 65535) / white
    assert np.abs(image.pixels - full_range(color, bits)).max() <= tolerance


def floats(shape, kind):
    return np.linspace(0, 1, int(np.prod(shape))).reshape(shape).astype(kind)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(np.ones((4, 5, 3), "i2"), 16, kind=2), "signed integers (TIFF, RGB, 16 bit)"),
        (encode(np.ones((4, 5, 1), "i1"), 8, kind=2), "signed integers (TIFF, gray, 8 bit)"),
        (encode(np.ones((4, 5, 1), "u4"), 32), "32-bit integers (TIFF, gray, 32 bit)"),
        (encode(np.ones((4, 5, 3), "u4"), 32, big=True), "32-bit integers (TIFF, RGB, 32 bit)"),
        (encode(np.ones((4, 5, 3), "u2"), 16, photometric=8), "not supported (TIFF, Lab, 16 bit)"),
        (encode(np.ones((4, 5, 3), "u2"), 12, tags={258: (3, [12, 10, 12])}), "RGB, 10 and 12 bit"),
        (
            encode(np.ones((4, 5, 3), "u2"), 12, tags={259: (3, [7])}),
            "compressed by JPEG (TIFF, RGB, 12 bit)",
        ),
        (encode(np.ones((4, 5, 3), "u2"), 12, tags={259: (3, [9999])}), "compressed by method 9999"),
        (encode(np.ones((4, 5, 1), "u2"), 16, photometric=32803), "camera raw file"),
        (encode(np.ones((4, 5, 3), "u1"), 8, tags={50706: (1, [1, 4, 0, 0])}), "camera raw file"),
        (encode(np.ones((4, 5, 3), "u1"), 8, tags={254: (4, [1]), 330: (4, [8])}), "a small preview"),
    ],
)
def test_what_is_refused_is_named(tmp_path, data, reason):
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    for call in (read_image, image_size, image_bits):
        with pytest.raises(ImageError) as caught:
            call(path)
        assert reason in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("big", [False, True])
def test_damage_anywhere_is_one_line(tmp_path, rng, big):
    whole = encode(
        samples_of(rng, 12, 3), 12, big=big, deflate=True, strip_rows=4, tags={271: (2, b"Maker\0")}
    )
    path = tmp_path / "a.tif"
    refused = 0
    for trial in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(8, len(data))] if trial % 3 == 0 else data)
        refused += _is_refused(path)
    assert refused > 50


def _is_refused(path) -> bool:
    try:
        read_image(path, max_pixels=1 << 20)
    except ImageError:
        return True
    return False


def test_a_directory_that_points_at_itself(tmp_path, rng):
    data = bytearray(encode(samples_of(rng, 12, 1), 12))
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    data[at + 2 + 12 * count : at + 6 + 12 * count] = data[4:8]
    assert read(tmp_path, bytes(data)).notes == ()
