"""TIFFs of floating-point samples: linear light that stays float in a TIFF, and becomes sRGB elsewhere."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

import hfsr
from hfsr.errors import ImageError
from hfsr.images import LoadedImage, eight_bit, is_linear, read_image, write_image
from hfsr.images.linear_light import LINEAR, as_integers
from hfsr.images.metadata.color_profile import to_srgb
from hfsr.images.metadata.color_signal import profile_of
from hfsr.inference import Upscaler

from . import profiles
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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"planes": True}, {"tile": (16, 16)}])
def test_differences_of_half_floats(rng, order, options):
    """Predictor 2 takes the bits of floats as integers."""
    samples = rng.random((*SHAPE, 3)).astype(np.float16)
    data = encode(samples.view("u2"), 16, kind=3, order=order, predictor=True, deflate=True, **options)
    np.testing.assert_array_equal(read_image(data, floats=True).pixels, samples.astype(np.float32))
    plain = encode(samples, 16, kind=3, order=order, tags={317: (3, [2])}, **options)
    np.testing.assert_array_equal(read_image(plain, floats=True).pixels, samples.astype(np.float32))


def test_differences_of_longer_floats_are_refused(rng):
    samples = rng.random((*SHAPE, 3)).astype(np.float32)
    data = encode(samples.view("u4"), 32, kind=3, predictor=True, deflate=True)
    with pytest.raises(ImageError, match="stores differences of 32-bit samples"):
        read_image(data)


@pytest.mark.parametrize("channels", [1, 3])
def test_glow_and_impossible_opacity_are_noted(rng, channels):
    alpha = np.full((*SHAPE, 1), 0.5, np.float32)
    colors = np.full((*SHAPE, channels), 0.25, np.float32)
    glow = "its light without opacity (glow) was left out"
    outside = "its opacity outside of 0 to 1 was set to 0 or 1"
    for value, light, extra, notes in (
        (0, 0, 1, ()), (0, 0.25, 1, (glow,)), (0, 0.25, 2, ()), (1e-5, 0.25, 1, (glow,)),
        (1.5, 0.25, 1, (outside,)), (-1, 0, 2, (outside,)),
    ):  # fmt: skip
        alpha[3, 3], colors[3, 3] = value, light
        image = read_image(encode(np.dstack([colors, alpha]), 32, kind=3, extra=(extra,)), floats=True)
        assert image.notes == (LINEAR, *notes)
        assert image.alpha[3, 3] == np.float32(np.clip(value, 0, 1))
    alpha[3, 3] = np.nan
    with pytest.raises(ImageError, match="its opacity holds NaN; replace it first"):
        read_image(encode(np.dstack([colors, alpha]), 32, kind=3, extra=(2,)))


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
    colors = rng.random((*SHAPE, 1 if channels < 3 else 3)).astype(np.float32)
    alpha = None
    if channels in (2, 4):
        alpha = np.full(SHAPE, 0.5, np.float32)
        alpha[4] = 0.75
    write_image(LoadedImage(np.ascontiguousarray(colors.squeeze()), alpha=alpha), tmp_path / "a.tif")
    up.file(tmp_path / "a.tif", tmp_path / "b.tif", scale=1.5)
    assert (up.notes, up.dtype) == ((LINEAR,), torch.float32)
    result = read_image(tmp_path / "b.tif", floats=True)
    coded = srgb(colors).astype(np.float32)
    coded = coded[..., 0] if channels < 3 else coded
    expected = np.clip(up(coded, scale=1.5), 0, None)
    linear = np.where(expected <= 0.04045, expected / 12.92, ((expected + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(result.pixels, linear, rtol=1e-4, atol=1e-5)
    assert (result.width, result.height, result.bits) == (19, 13, 32)
    if alpha is not None:
        assert result.alpha.shape == (13, 19)
        assert 0 <= result.alpha.min() <= result.alpha.max() <= 1
    up.file(tmp_path / "a.tif", tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").bits == 16
    assert up.notes == ("its linear floating-point samples became sRGB of 16 bit",)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(hfsr.from_pretrained("hfsr-x2-small"), device="cpu", dtype="fp32")


def waves() -> np.ndarray:
    """Smooth colors from 0.05 to 0.55."""
    y, x = np.mgrid[0:40, 0:48]
    wave = 0.3 + 0.25 * np.sin(x / 3)[..., None] * np.cos(y / 4)[..., None] * np.array([1, 0.8, 0.6])
    return wave.astype(np.float32)


def enlarged(upscaler: Upscaler, tmp_path, samples: np.ndarray, **options) -> LoadedImage:
    (tmp_path / "a.tif").write_bytes(encode(samples, 32, kind=3, **options))
    upscaler.file(tmp_path / "a.tif", tmp_path / "b.tif")
    return read_image(tmp_path / "b.tif", floats=True)


@pytest.mark.parametrize("hot", [1.05, 20, 1000, 50_000])
def test_one_bright_px_leaves_the_others_as_they_are(upscaler, tmp_path, hot):
    samples = waves()
    plain = enlarged(upscaler, tmp_path, samples).pixels
    samples[2, 2] = hot
    bright = enlarged(upscaler, tmp_path, samples).pixels
    assert abs(bright[40:, 40:].mean() - plain[40:, 40:].mean()) < 0.0005
    np.testing.assert_allclose(bright[40:, 40:], plain[40:, 40:], atol=0.005)
    assert 0.7 * hot < bright.max() < 1.5 * hot


def test_color_under_vanishing_opacity_reaches_no_other_px(upscaler, tmp_path):
    alpha = np.ones((40, 48, 1), np.float32)
    alpha[-6:, -6:] = 1e-5  # divided by it, the colors are 30,000
    plain = enlarged(upscaler, tmp_path, waves()).pixels
    result = enlarged(upscaler, tmp_path, np.dstack([waves(), alpha]), extra=(1,))
    np.testing.assert_allclose(result.pixels[:60, :60], plain[:60, :60], atol=0.005)
    assert (result.pixels * result.alpha[..., None]).max() < 0.6


@pytest.mark.parametrize("unit", [10, 65_535])
def test_samples_of_another_unit_keep_their_detail(upscaler, tmp_path, unit):
    plain = enlarged(upscaler, tmp_path, waves()).pixels
    result = enlarged(upscaler, tmp_path, waves() * np.float32(unit)).pixels
    np.testing.assert_allclose(result / unit, plain, atol=0.01)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GAMMA_1 = ((b"gAMA", struct.pack(">I", 100_000)),)
WIDE = ((b"cICP", bytes([9, 8, 0, 1])),)


def displayed(image: LoadedImage) -> np.ndarray:
    """The image as a program with color management shows it, 8 bit."""
    kept = Image.fromarray(eight_bit(image.pixels))
    return np.asarray(kept.convert("RGB") if image.icc is None else to_srgb(kept, image.icc))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    ("icc", "level"),
    [
        (None, 124), (profile_of(GAMMA_1, gray=False), 124), (profile_of(WIDE, gray=False), 124),
        (profile_of(GAMMA_1, gray=True), 124), (profiles.linear_gray(), 124), (SRGB, 51), (b"damaged", 124),
    ],
)  # fmt: skip
def test_integers_look_as_the_profile_of_the_floats_says(tmp_path, icc, level, suffix):
    is_gray = icc is not None and icc[16:20] == b"GRAY"
    tags = {} if icc is None else {34675: (7, icc)}
    data = encode(np.full((*SHAPE, 1 if is_gray else 3), 0.2, np.float32), 32, kind=3, tags=tags)
    write_image(read_image(data, floats=True), tmp_path / f"a.{suffix}")
    assert np.abs(displayed(read_image(tmp_path / f"a.{suffix}")).astype(int) - level).max() <= 1
    assert np.abs(displayed(read_image(data)).astype(int) - level).max() <= 1


def test_a_profile_of_linear_light_keeps_its_primaries(tmp_path):
    samples = np.zeros((*SHAPE, 3), np.float32)
    samples[..., 1] = 1
    tags = {34675: (7, profile_of(WIDE, gray=False))}
    icc = read_image(encode(samples, 32, kind=3, tags=tags)).icc
    green = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.green_colorant[0]
    expected = ImageCms.ImageCmsProfile(io.BytesIO(tags[34675][1])).profile.green_colorant[0]
    np.testing.assert_allclose(green, expected, atol=1e-4)


def test_what_the_samples_mean_is_noted(tmp_path):
    for icc, notes in (
        (SRGB, ()),
        (profile_of(GAMMA_1, gray=False), ()),
        (b"damaged", (f"{LINEAR}, because its color profile cannot be used",)),
    ):
        data = encode(np.full((*SHAPE, 3), 0.2, np.float32), 32, kind=3, tags={34675: (7, icc)})
        image = read_image(data, floats=True)
        assert (image.notes, image.icc) == (notes, icc)
        assert is_linear(image) == (icc != SRGB)
    assert read_image(data).icc is None


def test_floats_on_a_curve_reach_the_network_as_they_are(rng, tmp_path):
    torch.manual_seed(1)
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), device="cpu", dtype="fp32")
    samples = rng.random((*SHAPE, 3)).astype(np.float32)
    result = enlarged(up, tmp_path, samples, tags={34675: (7, SRGB)})
    np.testing.assert_allclose(result.pixels, np.clip(up(samples), 0, None), rtol=1e-4, atol=1e-5)
    assert result.icc == SRGB
