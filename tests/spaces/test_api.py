"""Tests of the API endpoints `/upscale` and `/zeroshot` with gradio_client."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr.checkpoints import interpolate

client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install 'hfsr[demo]'")


PATIENT = {"timeout": 60}
"""Arguments of httpx; its default of 5 s is too short on a busy machine."""


@pytest.fixture(scope="module")
def space(served, tmp_path_factory):
    downloads = tmp_path_factory.mktemp("downloads")
    space = client.Client(
        served.url, verbose=False, download_files=downloads, analytics_enabled=False, httpx_kwargs=PATIENT
    )
    yield space
    space.close()


@pytest.fixture(scope="module")
def upscale(space):
    return lambda **arguments: space.predict(**arguments, api_name="/upscale")


@pytest.fixture(scope="module")
def zeroshot(space):
    return lambda **arguments: space.predict(**arguments, api_name="/zeroshot")


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("tile", "dtype", "ensemble"),
    [("auto", "auto", False), ("64", "fp32", False), ("512", "bf16", False), ("256", "fp32", True)],
)
def test_png_matches_upscaler(served, upscale, photo, tmp_path, tile, dtype, ensemble):
    png, report = upscale(
        image=client.handle_file(photo), model=served.quick, tile=tile, dtype=dtype, self_ensemble=ensemble
    )
    model = hfsr.from_pretrained(served.quick)
    upscaler = hfsr.Upscaler(model, tile=tile, dtype=dtype, self_ensemble=ensemble)
    upscaler.file(photo, tmp_path / "own.png")
    own = _pixels(tmp_path / "own.png")
    assert np.array_equal(_pixels(png), own)
    assert report.startswith("600 × 400, ")
    assert upscaler.summary in report
    assert served.jobs() == []


def test_strength_interpolates_two_trainings(served, upscale, photo, tmp_path):
    def png(strength):
        named = {"image": client.handle_file(photo), "model": served.strong, "dtype": "fp32"}
        return _pixels(upscale(**named, strength=strength)[0])

    strong, mild = hfsr.from_pretrained(served.strong), hfsr.from_pretrained(served.mild)
    for strength, model in ((1, strong), (0.35, interpolate(mild, strong, 0.35)), (0, mild)):
        hfsr.Upscaler(model, dtype="fp32").file(photo, tmp_path / "own.png")
        assert np.array_equal(png(strength), _pixels(tmp_path / "own.png"))


def test_strength_needs_a_mild_training(served, upscale, photo):
    with pytest.raises(client.exceptions.AppError, match=r"has only one strength; leave it at 1$"):
        upscale(image=client.handle_file(photo), model=served.quick, strength=0.5)


def test_file_that_is_not_an_image(upscale, zeroshot, text_file):
    for ask in (upscale, zeroshot):
        with pytest.raises(client.exceptions.AppError, match=r"^'letter.png' is (no image|not an image)"):
            ask(image=client.handle_file(text_file))


def test_image_with_too_many_pixels_is_not_decoded(upscale, tmp_path):
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(bomb)
    assert bomb.stat().st_size < 100_000
    message = r"20000 ?x ?10000.*limit of 16,000,000"
    with pytest.raises(client.exceptions.AppError, match=message) as caught:
        upscale(image=client.handle_file(bomb))
    assert "--" not in str(caught.value)


def test_pixel_limits_of_slow_jobs(upscale, zeroshot, tmp_path):
    large = tmp_path / "large.png"
    Image.new("L", (1500, 1400)).save(large)
    with pytest.raises(client.exceptions.AppError, match="limit of 2,000,000"):
        upscale(image=client.handle_file(large), self_ensemble=True)
    with pytest.raises(client.exceptions.AppError, match="limit of 125,000"):
        zeroshot(image=client.handle_file(large), scale=4)


@pytest.mark.parametrize(
    ("format", "mode"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")], ids=["png", "jpg", "webp"]
)
def test_width_and_format(served, upscale, photo, format, mode):
    path, report = upscale(image=client.handle_file(photo), width=450, format=format)
    assert report.startswith("450 × 300, ")
    assert path.endswith(f"photo_w450.{format}")
    with Image.open(path) as image:
        assert (image.format, image.size) == (mode, (450, 300))


def test_model_by_the_file(upscale, photo, tmp_path):
    with Image.open(photo) as image:
        image.crop((0, 0, 30, 20)).save(tmp_path / "small.jpg", quality=70)
    path, report = upscale(image=client.handle_file(tmp_path / "small.jpg"), model="auto", scale=3)
    assert "Model: hfsr-x4-photo (chosen: JPEG of quality 70)" in report
    assert _pixels(path).shape == (60, 90, 3)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("model", "../x"),
        ("format", "exr"),
        ("scale", 17),
        ("width", -3),
        ("tile", "7"),
        ("dtype", "fp8"),
        ("self_ensemble", 1),
        ("strength", 1.5),
        ("strength", True),
    ],
)
def test_invalid_upscale_arguments(upscale, photo, argument, value):
    message = f"^{argument} '{value}' is not (offered; choose one of|possible; choose a number)"
    with pytest.raises(client.exceptions.AppError, match=message):
        upscale(image=client.handle_file(photo), **{argument: value})


def test_announced_scale_may_be_a_string(zeroshot, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "dot.png")
    with pytest.raises(client.exceptions.AppError, match="too small to learn from"):
        zeroshot(image=client.handle_file(tmp_path / "dot.png"), scale="3")


@pytest.mark.parametrize(("argument", "value"), [("scale", 5), ("kind", "kernel.npy")])
def test_invalid_zeroshot_arguments(zeroshot, photo, argument, value):
    with pytest.raises(
        client.exceptions.AppError, match=f"^{argument} '{value}' is not offered; choose one of"
    ):
        zeroshot(image=client.handle_file(photo), **{argument: value})


def test_image_too_small_to_learn_from(zeroshot, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "dot.png")
    with pytest.raises(client.exceptions.AppError, match=r"^an image of 9x9 px is too small to learn from"):
        zeroshot(image=client.handle_file(tmp_path / "dot.png"))


def test_job_reports_progress_and_can_be_canceled(served, space, large_photo):
    job = space.submit(
        image=client.handle_file(large_photo), model=served.slow, tile="256", api_name="/upscale"
    )
    while not any("of 24 parts" in report for *_, report in job.outputs()):
        assert not job.done()
    job.cancel()
    assert served.is_idle()


def test_one_job_per_visitor(served, space, upscale, photo, large_photo):
    long = {"image": client.handle_file(large_photo), "model": served.slow, "api_name": "/upscale"}
    job = space.submit(**long)
    while not job.outputs():
        assert not job.done()
    with pytest.raises(client.exceptions.ValidationError, match="You already have an image in work"):
        upscale(image=client.handle_file(photo))
    with pytest.raises(client.exceptions.ValidationError, match="You already have an image in work"):
        space.predict(image=client.handle_file(photo), api_name="/zeroshot")
    other = client.Client(served.url, verbose=False, analytics_enabled=False, httpx_kwargs=PATIENT)
    waiting = other.submit(image=client.handle_file(photo), api_name="/upscale")
    job.cancel()
    assert waiting.result(timeout=60)[1].startswith("600 × 400, ")
    other.close()
    assert upscale(image=client.handle_file(photo))[1].startswith("600 × 400, ")
    assert upscale(image=client.handle_file(photo))[1].startswith("600 × 400, ")  # at once
