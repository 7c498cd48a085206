"""Results of any size: a scale or a size below that of the model, and several models one after another."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import hfsr
from hfsr import images
from hfsr.errors import ImageError, OptionsError
from hfsr.inference import Upscaler
from hfsr.inference.program.geometry import Size
from hfsr.inference.result_size import WantedSize

from .conftest import uneven_image


@pytest.fixture(scope="module")
def up() -> Upscaler:
    torch.manual_seed(1)
    return Upscaler(hfsr.create_model("edsr_tiny").eval(), dtype="fp32", device="cpu")


@pytest.fixture(scope="module")
def chain(up) -> Upscaler:
    torch.manual_seed(2)
    models = [up.model, hfsr.create_model("edsr_tiny", scale=3).eval()]
    return Upscaler(models, dtype="fp32", device="cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 27, 3), np.uint8)


def reduced(result: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(result, size=size[::-1], mode="bicubic", antialias=True)


class TestWantedSize:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({"width": 3840}, (3840, 2559)),  # 2559.375
            ({"height": 2160}, (3241, 2160)),  # 3240.82
            ({"width": 3000, "height": 2000}, (3000, 2000)),
            ({"max_side": 4000}, (4000, 2666)),
            ({"scale": 1.5}, (3072, 2047)),  # 2047.5
            ({"scale": 2}, (4096, 2730)),
        ],
    )
    def test_a_side_is_rounded_and_a_scale_rounds_down(self, wanted, expected):
        assert WantedSize(**wanted).of(Size(1365, 2048)) == Size(*expected[::-1])

    def test_the_longer_side_is_that_of_the_image(self):
        assert WantedSize(max_side=100).of(Size(80, 30)) == Size(100, 38)  # 37.5

    def test_the_scale_that_a_model_needs(self):
        assert WantedSize(width=60, height=30).scale_of(Size(20, 30)) == 2
        assert WantedSize().scale_of(Size(20, 30)) is None
        with pytest.raises(OptionsError, match="x16 is the limit"):
            WantedSize(width=1000).scale_of(Size(20, 30))
        with pytest.raises(OptionsError, match="29x19 px are less than the 30x20 px of the image"):
            WantedSize(width=29).scale_of(Size(20, 30))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("words", [{"scale": 1.5}, {"size": (42, 30)}, {"size": (42, None)}])
def test_an_array_is_reduced_in_float_and_rounded_once(up, dtype, gray, words):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    values = np.random.default_rng(0).random((20, 28, 3)) * 0.8 + 0.1
    array = (values[..., 0] if gray else values) * peak
    array = array.astype(dtype)
    result = up(array, **words)
    size = (42, 30)
    assert result.dtype == dtype
    assert result.shape == (30, 42) + (() if gray else (3,))
    rgb = np.repeat(array[..., None], 3, -1) if gray else array
    x = torch.from_numpy((rgb / peak).astype(np.float32)).permute(2, 0, 1)[None]
    expected = reduced(up.tensor(x), size)[0].permute(1, 2, 0).numpy()
    expected = (expected.mean(-1) if gray else expected).clip(0, 1)
    inside = (slice(3, -3), slice(3, -3))
    # half a level of rounding, and no second one; floats are not rounded
    half = 1e-5 if dtype == np.float32 else 0.51 / peak
    np.testing.assert_allclose((result / peak).clip(0, 1)[inside], expected[inside], rtol=0, atol=half)


def test_all_kinds_of_input_agree(up, pixels, tmp_path):
    expected = up(pixels, size=(50, 33))
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for source in (
        image,
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        data,
        io.BytesIO(data),
        bytearray(data),
    ):
        np.testing.assert_array_equal(np.asarray(up(source, size=(50, 33))), expected)
    with (tmp_path / "a.png").open("rb") as file:
        up.file(file, tmp_path / "b.png", size=(50, 33))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), expected)
    tensor = up.tensor(torch.from_numpy(pixels / 255).float().permute(2, 0, 1)[None], size=(50, 33))
    np.testing.assert_array_equal(images.quantize(tensor[0].permute(1, 2, 0)), expected)


@pytest.mark.parametrize("tile", [8, 0, "auto"])
def test_tiles_and_rows_give_the_same(up, tile):
    image = uneven_image(150, 140)
    expected = reduced(up.model(image), (200, 211))
    result = Upscaler(up.model, tile=tile, dtype="fp32").tensor(image, size=(200, 211))
    torch.testing.assert_close(result[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("words", [{"scale": 1.77}, {"size": (47, None)}, {"size": (None, 36)}])
def test_a_size_that_was_rounded_is_in_place(words):
    """Px `j` of the result lies at (j + 0.5) / scale - 0.5 of the image: nothing is stretched to whole px."""
    torch.manual_seed(0)
    up = Upscaler(hfsr.create_model("espcn_tiny").eval(), device="cpu", dtype="fp32")
    ramp = torch.arange(27.0).expand(1, 3, 21, 27) / 27
    native, result = up.tensor(ramp)[0, 0, 20], up.tensor(ramp, **words)
    width, height = words.get("size", (None, None))
    scale = words.get("scale") or (width / 27 if width else height / 21)
    centers = ((np.arange(result.shape[-1]) + 0.5) / scale * 2 - 0.5)[6:-6]
    expected = np.interp(centers, np.arange(54), native.numpy())
    assert np.abs(result[0, 0, 18, 6:-6].numpy() - expected).max() < 0.004


def test_the_size_of_the_model_is_not_resampled(up, pixels):
    for words in ({"scale": 2}, {"size": (54, 40)}, {"scale": 2.0}):
        np.testing.assert_array_equal(up(pixels, **words), up(pixels))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_and_metadata_have_the_reduced_size(up, tmp_path, suffix):
    rgba = np.random.default_rng(0).integers(0, 256, (20, 27, 4), np.uint8)
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769).update({0xA002: 27, 0xA003: 20})
    Image.fromarray(rgba).save(tmp_path / "a.png", exif=exif, dpi=(300, 300))
    up.file(tmp_path / "a.png", tmp_path / f"b.{suffix}", scale=1.5)
    with Image.open(tmp_path / f"b.{suffix}") as result:
        assert (result.mode, result.size) == ("RGBA", (40, 30))
        found = result.getexif()
        assert found[271] == "Maker"
        assert not {0xA002, 0xA003} & set(found.get_ifd(0x8769))
        assert found.get(256, 40) == 40
    opaque = rgba.copy()
    opaque[..., 3] = 90
    assert set(np.unique(np.asarray(up(Image.fromarray(opaque), scale=1.3))[..., 3])) == {90}


def test_16_bit_stays_16_bit(up, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 27, 3), np.uint16)
    expected = up(deep, scale=1.7)
    images.write_image(images.LoadedImage(deep), tmp_path / "a.tif")
    up.file(tmp_path / "a.tif", tmp_path / "b.png", scale=1.7)
    result = images.read_image(tmp_path / "b.png")
    assert (result.bits, result.width, result.height) == (16, 45, 34)
    np.testing.assert_array_equal(result.pixels, expected)


class TestSeveralModels:
    def test_scales_multiply(self, chain, pixels):
        assert chain.scale == 6
        assert chain.name == "EDSR x2, EDSR x3"
        assert chain(pixels).shape == (120, 162, 3)
        assert chain.result_size(Size(20, 27)) == Size(120, 162)

    def test_floats_are_those_of_one_network_after_the_other(self, chain):
        image = uneven_image(24, 30)
        expected = chain.models[1](chain.models[0](image))
        torch.testing.assert_close(chain.tensor(image), expected, rtol=0, atol=1e-5)
        sized = chain.tensor(image, scale=4.5)[..., 3:-3, 3:-3]
        expected = reduced(expected, (135, 108))[..., 3:-3, 3:-3]
        torch.testing.assert_close(sized, expected, rtol=0, atol=2e-5)

    @pytest.mark.parametrize("gray", [False, True])
    def test_integers_are_rounded_only_at_the_end(self, chain, gray):
        array = np.random.default_rng(3).integers(40, 216, (20, 27, 3), np.uint8)
        array = array[..., 0] if gray else array
        rgb = np.repeat(array[..., None], 3, -1) if gray else array
        x = torch.from_numpy((rgb / 255).astype(np.float32)).permute(2, 0, 1)[None]
        first = chain.models[0](x).clamp(0, 1)
        first = first.mean(1, keepdim=True).expand(1, 3, -1, -1) if gray else first
        expected = chain.models[1](first)[0].permute(1, 2, 0)
        expected = (expected.mean(-1) if gray else expected).detach().clamp(0, 1).numpy() * 255
        assert np.abs(chain(array) - expected).max() < 0.51

    def test_progress_and_prediction_count_all(self, chain, pixels):
        steps = []
        chain(pixels, progress=steps.append)
        shares = [step.done / step.total for step in steps]
        assert shares == sorted(shares)
        assert shares[-1] == 1
        assert steps[-1].seconds_left == pytest.approx(0, abs=0.05)
        forecast = chain.forecast(27, 20)
        assert forecast.flops > Upscaler(chain.models[1]).plan(54, 40).flops

    def test_an_image_file_in_16_bit(self, chain, tmp_path):
        deep = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), np.uint16)
        images.write_image(images.LoadedImage(deep), tmp_path / "a.png")
        chain.file(tmp_path / "a.png", tmp_path / "b.tif", size=(40, 50))
        result = images.read_image(tmp_path / "b.tif")
        assert (result.bits, result.width, result.height) == (16, 40, 50)


class TestLists:
    def test_each_result_is_that_of_its_image(self, up, pixels):
        steps = []
        first, second = up([pixels, Image.fromarray(pixels)], progress=steps.append, scale=1.5)
        assert isinstance(first, np.ndarray)
        assert isinstance(second, Image.Image)
        np.testing.assert_array_equal(first, up(pixels, scale=1.5))
        np.testing.assert_array_equal(np.asarray(second), first)
        assert [step.done / step.total for step in steps][-1] == 1
        assert up([]) == []

    def test_an_error_names_the_image(self, up, pixels):
        with pytest.raises(ImageError, match="image 2 of 2: '<bytes>' is not an image"):
            up([pixels, b"text"])
        with pytest.raises(ImageError, match="has no lists inside"):
            up([[pixels]])

    def test_a_batch_of_tensors(self, up):
        batch = torch.rand(3, 3, 9, 8)
        result = up.tensor(batch, scale=1.5)
        assert result.shape == (3, 3, 13, 12)
        torch.testing.assert_close(result[1:2], up.tensor(batch[1:2], scale=1.5))


REFUSED = [
    ({"scale": 2.5}, "scale 2.5 is more than the model's x2; use 1 to 2"),
    ({"scale": 0.5}, "scale 0.5 is not allowed; use a number from 1 to 16"),
    ({"scale": "2"}, "scale '2' is not allowed"),
    ({"scale": True}, "scale True is not allowed"),
    ({"scale": float("nan")}, "scale nan is not allowed"),
    ({"size": (55, 40)}, "55x40 px are more than the 54x40 px that x2 makes of 27x20 px"),
    ({"size": (26, 40)}, "26x40 px are less than the 27x20 px of the image"),
    ({"size": 40}, "size 40 is not allowed; use (width, height) in px"),
    ({"size": (40,)}, "use (width, height) in px"),
    ({"size": (None, None)}, "use (width, height) in px"),
    ({"size": (40.5, 30)}, "width 40.5 is not allowed; use a whole number of px"),
    ({"size": (0, 30)}, "width 0 is not allowed"),
    ({"size": (40, 30), "scale": 1.5}, "scale and size exclude each other"),
    ({"progress": 3}, "progress 3 is not allowed"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_is_not_allowed(up, pixels, words, message):
    with pytest.raises(OptionsError) as caught:
        up(pixels, **words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"jpeg_quality": 0}, "jpeg_quality 0 is not allowed; use 1 to 100"),
        ({"jpeg_quality": "best"}, "jpeg_quality 'best' is not allowed"),
        ({"max_pixels": 0}, "max_pixels 0 is not allowed"),
        ({"max_pixels": 1.5}, "max_pixels 1.5 is not allowed"),
        ({"truncated": "no"}, "truncated 'no' is not allowed; use True or False"),
        ({"target": 3}, "the target is of type int; use a text or a path"),
    ],
)
def test_arguments_of_files(up, pixels, tmp_path, words, message):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(OptionsError) as caught:
        up.file(tmp_path / "a.png", words.pop("target", tmp_path / "b.png"), **words)
    assert message in str(caught.value)
    assert not (tmp_path / "b.png").exists()


def test_files_that_cannot_be_read(up, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as file, pytest.raises(ImageError, match="is open in text mode"):
        up(file)
    with pytest.raises(ImageError, match="cannot be read \\(I/O operation on closed file"):
        up(file)
    with pytest.raises(ImageError, match="'<bytes>' is empty"):
        up(b"")
    with pytest.raises(OptionsError, match="the list of models is empty"):
        Upscaler([])
