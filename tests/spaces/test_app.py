"""The Space's files, and its app without a server."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hfsr import _resources
from hfsr.cli.demo import load_app
from hfsr.errors import ImageError

gradio = pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")

SPACE = _resources.path("spaces", "upscaler")


@pytest.fixture(scope="module")
def app():
    return load_app()


@pytest.fixture(scope="module")
def page(app):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # gradio leaves its event loops to the collector
        page = app.build({"Enlarge": "hfsr-x2"})
        gc.collect()
    return page


@pytest.fixture(scope="module")
def front_matter():
    return yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])


def test_the_page_is_built_without_being_served(page):
    labels = {block.label for block in page.blocks.values() if getattr(block, "label", None)}
    assert {"Your picture", "What to do", "Before | after", "Piece size", "Arithmetic"} <= labels
    assert not page.is_running


def test_one_public_endpoint_with_named_arguments(page):
    endpoints = page.get_api_info()["named_endpoints"]
    assert list(endpoints) == ["/upscale"]
    parameters = {p["parameter_name"]: p["parameter_default"] for p in endpoints["/upscale"]["parameters"]}
    assert parameters == {"image": None, "model": "hfsr-x2", "tile": "256", "dtype": "auto"}


def test_front_matter(app, front_matter):
    assert front_matter["sdk"] == "gradio"
    assert front_matter["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
    assert front_matter["python_version"] in {"3.10", "3.12"}  # what ZeroGPU has
    assert (SPACE / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60


def test_front_matter_names_the_models_of_the_hub(app, front_matter):
    assert front_matter["models"] == [name for name in app.offered().values() if "/" in name]


def test_requirements_name_hfsr_with_its_extra():
    lines = (SPACE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["hfsr[demo]>=0.1"]


def test_the_menu_is_read_in_the_order_of_the_file(app, tmp_path):
    menu = tmp_path / "models.yml"
    menu.write_text("Enlarge:\n  4 times: org/b-x4\n  2 times: a-x2\nClean: {photos: org/c}\n")
    expected = {"Enlarge 4 times": "org/b-x4", "Enlarge 2 times": "a-x2", "Clean photos": "org/c"}
    assert list(app.offered(menu).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (1.6, "2 seconds"), (99.4, "99 seconds"), (100, "2 minutes"), (3600, "60 minutes")],
)
def test_time_in_words(app, seconds, words):
    assert app.in_words(seconds) == words


def test_before_and_after_have_one_size(app, photo, tmp_path):
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = app.compare(photo, png, 2)
    with Image.open(before) as shown, Image.open(photo) as given:
        assert np.array_equal(
            np.asarray(shown), np.asarray(given.resize((600, 400), Image.Resampling.BICUBIC))
        )
    assert after == png
    assert sizes == "300 × 200 px became 600 × 400 px."


def test_a_large_result_is_shown_reduced_and_said_to_be(app, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "MAX_SHOWN", 60_000)
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = app.compare(photo, png, 2)
    with Image.open(before) as shown, Image.open(after) as result, Image.open(png) as whole:
        assert shown.size == result.size == (300, 200)
        assert whole.size == (600, 400)
    assert sizes.endswith("The comparison is reduced, the download is not.")


def test_a_picture_shown_upright_keeps_lying_on_its_result(app, tmp_path):
    lying = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees to look at it
    Image.new("RGB", (30, 20)).save(lying, exif=exif)
    before, _, sizes = app.compare(lying, tmp_path / "lying_x3.png", 3)
    assert sizes == "20 × 30 px became 60 × 90 px."
    with Image.open(before) as shown:
        assert shown.size == (60, 90)


def test_an_error_is_told_without_the_place_of_uploads(app):
    source = Path("/somewhere/secret/photo.png")
    with pytest.raises(gradio.Error) as caught, app.readable(source):
        raise ImageError(f"'{source}' is empty (0 bytes); get the file again")
    assert caught.value.message == "'photo.png' is empty (0 bytes); get the file again"


def test_every_model_on_the_menu_without_an_owner_is_bundled(app):
    local = [name for name in app.offered().values() if "/" not in name]
    assert local
    assert set(local) <= set(_resources.bundled_models())
