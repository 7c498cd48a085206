"""From file to file by a model whose answer is known: what an image carries arrives on the other side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image, features
from torch import nn

from hfsr.images import LoadedImage, read_image, write_image
from hfsr.inference import Upscaler
from tests.images import profiles


class Nearest(nn.Module):
    """Every px becomes four."""

    scale = 2

    def core(self, x):
        return F.interpolate(x, scale_factor=2, mode="nearest")

    forward = core


class Blurred(nn.Module):
    """Every px becomes the mean of its neighborhood: what is under a transparent px would bleed."""

    scale = 1

    def core(self, x):
        return F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False)

    forward = core


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def doubled(samples):
    return samples.repeat(2, 0).repeat(2, 1)


def exif(**tags: object) -> Image.Exif:
    made = Image.Exif()
    made[0x010F], made[0x8298] = "Maker", "Owner"
    made.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    made.get_ifd(0x8825)[1] = "N"
    for tag, value in tags.items():
        made[int(tag[1:], 16)] = value
    return made


def run(tmp_path, source: str, target: str, model: nn.Module | None = None, **options) -> Image.Image:
    Upscaler(model or Nearest(), dtype="fp32").file(tmp_path / source, tmp_path / target, **options)
    with Image.open(tmp_path / target) as image:
        image.load()
    return image


LOSSLESS = ["png", "tif", "webp", "bmp"]
DEEP = ["png", "tif"]


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (source, target, kind)
        for source, target in itertools.product(LOSSLESS, repeat=2)
        for kind in ("gray", "color", *(() if "bmp" in (source, target) else ("gray alpha", "color alpha")))
    ],
)
def test_eight_bit(tmp_path, rng, source, target, kind):
    shape = (7, 9) if "gray" in kind else (7, 9, 3)
    alpha = rng.integers(1, 256, (7, 9), np.uint8) if "alpha" in kind else None
    given = LoadedImage(rng.integers(0, 256, shape, np.uint8), alpha)
    write_image(given, tmp_path / f"a.{source}")
    run(tmp_path, f"a.{source}", f"b.{target}")
    result = read_image(tmp_path / f"b.{target}")
    assert result.is_gray == ("gray" in kind and "webp" not in (source, target))
    pixels = given.pixels if result.is_gray or "color" in kind else np.dstack([given.pixels] * 3)
    if alpha is None:
        np.testing.assert_array_equal(result.pixels, doubled(pixels))
        assert result.alpha is None
    else:  # multiplied and divided in float: exact but for rounding
        assert np.abs(result.pixels.astype(int) - doubled(pixels)).max() <= 1
        np.testing.assert_array_equal(result.alpha, doubled(alpha))


@pytest.mark.parametrize("source", DEEP)
@pytest.mark.parametrize("target", DEEP)
@pytest.mark.parametrize("kind", ["gray", "gray alpha", "color", "color alpha"])
def test_sixteen_bit_in_and_out(tmp_path, rng, source, target, kind):
    shape = (7, 9) if "gray" in kind else (7, 9, 3)
    alpha = rng.integers(1, 65536, (7, 9), np.uint16) if "alpha" in kind else None
    given = LoadedImage(rng.integers(0, 65536, shape, np.uint16), alpha)
    write_image(given, tmp_path / f"a.{source}")
    Upscaler(Nearest(), dtype="fp32").file(tmp_path / f"a.{source}", tmp_path / f"b.{target}")
    result = read_image(tmp_path / f"b.{target}")
    assert result.bits == 16
    tolerance = 0 if alpha is None else 1
    assert np.abs(result.pixels.astype(int) - doubled(given.pixels)).max() <= tolerance
    if alpha is not None:
        np.testing.assert_array_equal(result.alpha, doubled(alpha))


def test_sixteen_bit_in_less_is_said(tmp_path, rng):
    for dtype, bits, said in (
        ("bf16", np.uint16, True),
        ("fp32", np.uint16, False),
        ("bf16", np.uint8, False),
    ):
        write_image(LoadedImage(rng.integers(0, 255, (7, 9), bits)), tmp_path / "a.png")
        up = Upscaler(Nearest(), dtype=dtype)
        up.file(tmp_path / "a.png", tmp_path / "b.png")
        expected = ("computed in bf16, which is coarser than 16 bit; fp32 is not",) if said else ()
        assert up.notes == expected


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", ["jpg", "png", "tif", "webp"])
def test_a_phone_s_jpeg_comes_out_upright_once(tmp_path, orientation, target):
    corners = np.zeros((16, 32, 3), np.uint8)
    corners[:8, :16], corners[:8, 16:], corners[8:, :16] = (220, 30, 30), (30, 200, 30), (30, 30, 220)
    image = Image.fromarray(corners)
    image.save(tmp_path / "a.jpg", exif=exif(_0112=orientation), quality=95, subsampling=0)
    result = run(tmp_path, "a.jpg", f"b.{target}")
    turn = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
        **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
        **{6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90},
    }
    upright = np.asarray(image if orientation == 1 else image.transpose(turn[orientation]))
    assert result.size == (2 * upright.shape[1], 2 * upright.shape[0])
    assert np.abs(np.asarray(result.convert("RGB")).astype(int) - doubled(upright)).mean() < 6
    kept = result.getexif()
    assert kept.get(0x0112, 1) == 1
    assert (kept[0x010F], kept[0x8298]) == ("Maker", "Owner")
    assert kept.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert kept.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("target", ["png", "jpg", "tif", "webp", "avif"])
@pytest.mark.parametrize("source", ["png", "jpg", "tif", "webp"])
def test_the_profile_is_kept(tmp_path, rng, source, target):
    if not features.check("avif") and target == "avif":
        pytest.skip("this Pillow has no AVIF")
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    image.save(tmp_path / f"a.{source}", icc_profile=icc)
    assert run(tmp_path, f"a.{source}", f"b.{target}").info["icc_profile"] == icc


@pytest.mark.parametrize("target", ["jpg", "png", "tif", "bmp"])
def test_a_gray_scan_stays_gray(tmp_path, target):
    Image.new("L", (16, 8), 77).save(tmp_path / "a.jpg", icc_profile=profiles.linear_gray())
    result = run(tmp_path, "a.jpg", f"b.{target}")
    assert result.mode == "L"
    assert np.abs(np.asarray(result).astype(int) - 77).max() <= 1
    if target != "bmp":
        assert result.info["icc_profile"] == profiles.linear_gray()
    Image.new("1", (16, 8), 1).save(tmp_path / "fax.png")
    assert run(tmp_path, "fax.png", f"c.{target}").getextrema() == (255, 255)


def test_a_palette_with_transparency(tmp_path):
    indices = np.array([[0, 1], [2, 3]], np.uint8)
    palette = Image.fromarray(indices)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 99, 199)]
    palette.putpalette(np.array(colors, np.uint8).tobytes())
    palette.save(tmp_path / "a.png", transparency=bytes([255, 128, 64, 0]))
    result = np.asarray(run(tmp_path, "a.png", "b.png"))
    expected = [(*colors[k], opacity) for k, opacity in enumerate((255, 128, 64, 0))]
    for k, (y, x) in enumerate(((0, 0), (0, 2), (2, 0))):
        assert tuple(result[y, x]) == expected[k]
    assert result[3, 3, 3] == 0
    gif = palette.copy()
    gif.save(tmp_path / "a.gif", transparency=2)
    assert (
        np.asarray(run(tmp_path, "a.gif", "c.png"))[..., 3].tolist()
        == doubled(np.array([[255, 255], [0, 255]])).tolist()
    )


def test_inks_become_light(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg", icc_profile=profiles.red_cyan())
    up = Upscaler(Nearest(), dtype="fp32")
    up.file(tmp_path / "a.jpg", tmp_path / "b.png")
    assert up.notes == ("CMYK was converted to sRGB by its color profile",)
    with Image.open(tmp_path / "b.png") as result:
        assert result.mode == "RGB"
        assert "icc_profile" not in result.info
        assert np.abs(np.asarray(result).astype(int) - (255, 0, 0)).max() <= 3


def test_nothing_bleeds_from_under_transparent_pixels(tmp_path):
    """A red disc on green that cannot be seen: blurred as it is, its edge would turn yellow."""
    y, x = np.mgrid[:32, :32]
    disc = (y - 16) ** 2 + (x - 16) ** 2 < 100
    pixels = np.where(disc[..., None], (255, 0, 0), (0, 255, 0))
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        step = 1 if bits == 8 else 257
        given = LoadedImage((pixels * step).astype(dtype), (disc * 255 * step).astype(dtype))
        write_image(given, tmp_path / "a.png")
        Upscaler(Blurred(), dtype="fp32").file(tmp_path / "a.png", tmp_path / "b.png")
        result = read_image(tmp_path / "b.png")
        seen = result.alpha > 0
        edge = seen & (result.alpha < 255 * step)
        assert edge.sum() > 100
        np.testing.assert_array_equal(result.pixels[seen], np.tile(result.pixels[16, 16], (seen.sum(), 1)))
        assert tuple(result.pixels[16, 16]) == (255 * step, 0, 0)
        naive = Upscaler(Blurred(), dtype="fp32")(given.pixels)
        assert naive[edge][:, 1].max() > 100 * step


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_opacity_changes_no_color(tmp_path, rng, value):
    pixels = rng.integers(0, 256, (7, 9, 3), np.uint8)
    write_image(LoadedImage(pixels, np.full((7, 9), value, np.uint8)), tmp_path / "a.png")
    result = np.asarray(run(tmp_path, "a.png", "b.png"))
    np.testing.assert_array_equal(result[..., :3], doubled(pixels))
    assert (result[..., 3] == value).all()


@pytest.mark.parametrize("quality", [30, 75, 95, 100])
def test_the_jpeg_is_of_the_quality_that_was_asked_for(tmp_path, rng, quality):
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "expected.jpg", quality=quality)
    with Image.open(tmp_path / "expected.jpg") as expected:
        result = run(tmp_path, "a.png", "b.jpg", jpeg_quality=quality)
        assert result.quantization == expected.quantization
    sampling = [layer[1:3] for layer in result.layer]
    assert sampling[0] == ((1, 1) if quality >= 90 else (2, 2))


def test_by_default_a_jpeg_is_of_quality_95(tmp_path, rng):
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    image.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as expected:
        assert run(tmp_path, "a.jpg", "b.jpg").quantization == expected.quantization
