"""TIFFs of floating-point samples: linear light that stays float in a TIFF, and becomes sRGB elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import hfsr
from hfsr.errors import ImageError
from hfsr.images import LoadedImage, read_image, write_image
from hfsr.images.linear_light import LINEAR, as_integers
from hfsr.inference import Upscaler

from .tiff_files import encode

SHAPE = (9, 13)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "options", [{}, {"planes": True}, {"tile": (16, 16), "deflate": True}, {"big": True}]
)
def test_every_layout_is_read(rng, dtype, channels, order, options):
    samples = rng.random((*SHAPE, channels)).astype(dtype)
    bits = samples.dtype.itemsize * 8
    image = read_image(encode(samples, bits, kind=3, order=order, **options), floats=True)
    assert (image.bits, image.notes) == (32, (LINEAR,))
    np.testing.assert_array_equal(image.pixels, samples.astype(np.float32).squeeze())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read_by_others(rng, tmp_path, channels):
    samples = (rng.random((*SHAPE, channels)) * 3).astype(np.float32)
    samples[..., -1] /= 3
    colors = samples[..., : 1 if channels < 3 else 3].squeeze()
    alpha = samples[..., -1].copy() if channels in (2, 4) else None
    write_image(LoadedImage(colors, alpha=alpha), tmp_path / "a.tif")
    again = read_image(tmp_path / "a.tif", floats=True)
    np.testing.assert_array_equal(again.pixels, colors)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    if channels == 1:
        with Image.open(tmp_path / "a.tif") as image:
            assert image.mode == "F"
            np.testing.assert_array_equal(np.asarray(image), colors)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert (page.dtype, page.predictor, page.bitspersample) == (np.float32, 3, 32)


def test_elsewhere_it_becomes_srgb(rng, tmp_path):
    samples = (rng.random((*SHAPE, 3)) * 1.5).astype(np.float32)
    path = tmp_path / "a.tif"
    path.write_bytes(encode(samples, 32, kind=3))
    image = read_image(path)
    assert image.bits == 16
    assert image.notes == (
        "its linear floating-point samples became sRGB of 16 bit; values above 1 were clipped",
    )
    np.testing.assert_allclose(image.pixels / 65535, srgb(samples.clip(0, 1)), rtol=0, atol=1e-5)
    write_image(read_image(path, floats=True), tmp_path / "b.jpg", jpeg_quality=100)
    with Image.open(tmp_path / "b.jpg") as jpeg:
        difference = np.asarray(jpeg) / 255 - srgb(samples.clip(0, 1))
    assert np.abs(difference).mean() < 0.02
    assert as_integers(image) is image


def test_negative_samples_are_noted_and_nan_is_refused(rng):
    samples = rng.random((*SHAPE, 1)).astype(np.float32) - 0.5
    image = read_image(encode(samples, 32, kind=3), floats=True)
    assert image.notes == (LINEAR, "its negative samples were set to 0")
    assert image.pixels.min() == 0
    samples[3, 3] = np.nan
    with pytest.raises(ImageError, match="cannot be read: its floating-point samples hold NaN"):
        read_image(encode(samples, 32, kind=3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_network_sees_srgb_and_the_result_is_linear(rng, tmp_path, channels):
    torch.manual_seed(1)
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), device="cpu", dtype="fp32")
    brightest = 2.5
    samples = (rng.random((*SHAPE, channels)) * brightest).astype(np.float32)
    colors = samples[..., : 1 if channels < 3 else 3]
    colors[0, 0] = brightest
    alpha = None
    if channels in (2, 4):
        alpha = np.full(SHAPE, 0.5, np.float32)
        alpha[4] = 0.75
    write_image(LoadedImage(np.ascontiguousarray(colors.squeeze()), alpha=alpha), tmp_path / "a.tif")
    up.file(tmp_path / "a.tif", tmp_path / "b.tif", scale=1.5)
    assert (up.notes, up.dtype) == ((LINEAR,), torch.float32)
    result = read_image(tmp_path / "b.tif", floats=True)
    coded = srgb(colors / brightest).astype(np.float32)
    coded = coded[..., 0] if channels < 3 else coded
    expected = np.clip(up(coded, scale=1.5), 0, None)
    linear = np.where(expected <= 0.04045, expected / 12.92, ((expected + 0.055) / 1.055) ** 2.4) * brightest
    np.testing.assert_allclose(result.pixels, linear, rtol=1e-4, atol=1e-5)
    assert (result.width, result.height, result.bits) == (19, 13, 32)
    if alpha is not None:
        assert result.alpha.shape == (13, 19)
        assert 0 <= result.alpha.min() <= result.alpha.max() <= 1
    up.file(tmp_path / "a.tif", tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").bits == 16
    assert "became sRGB of 16 bit; values above 1 were clipped" in up.notes[0]
