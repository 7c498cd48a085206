"""The Space's files, and its parts without a server."""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import hfsr
from hfsr import _resources
from hfsr.cli.demo import load_app
from hfsr.errors import ImageError, OptionsError
from hfsr.priors import FitProgress
from hfsr.priors.zeroshot import ZeroShotConfig

gradio = pytest.importorskip("gradio", reason="gradio is not installed: pip install 'hfsr[demo]'")

SPACE = _resources.path("spaces", "upscaler")


@pytest.fixture(scope="module")
def space():
    """The Space's package, with its modules."""
    load_app()
    from hfsr_space import catalog, jobs, messages, page

    return type("Space", (), {"jobs": jobs, "menu": catalog, "page": page, "words": messages})


@pytest.fixture(scope="module")
def page(space):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # gradio leaves its event loops to the collector
        page = space.page.build({"twice": "hfsr-x2"})
        gc.collect()
    return page


@pytest.fixture(scope="module")
def front_matter():
    return yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])


# The page


def test_the_page_is_built_without_being_served(page):
    labels = {block.label for block in page.blocks.values() if getattr(block, "label", None)}
    assert {"Your picture", "What to do", "Model", "Before | after"} <= labels
    assert {
        "Piece size",
        "Arithmetic",
        "Self-ensemble",
        "Strength",
        "Times larger",
        "The picture is",
    } <= labels
    assert not page.is_running


def test_public_endpoints_have_named_arguments(page):
    endpoints = page.get_api_info()["named_endpoints"]
    arguments = {
        name: {p["parameter_name"]: p["parameter_default"] for p in endpoint["parameters"]}
        for name, endpoint in endpoints.items()
    }
    advanced = {"tile": "auto", "dtype": "auto", "self_ensemble": False, "strength": 1}
    assert arguments == {
        "/upscale": {"image": None, "model": "hfsr-x2", **advanced},
        "/zeroshot": {"image": None, "scale": 2, "kind": "bicubic"},
    }


def test_all_work_waits_in_one_line_of_eight(page):
    lines = {fn.api_name: fn.concurrency_id for fn in page.fns.values() if fn.queue and fn.fn}
    assert lines == {"upscale": "work", "zeroshot": "work"}
    assert {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "work"} == {1}
    assert page._queue.max_size == 8


# The files


def test_front_matter(front_matter):
    assert front_matter["sdk"] == "gradio"
    assert front_matter["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
    assert front_matter["python_version"] in {"3.10", "3.12"}  # what ZeroGPU has
    assert (SPACE / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60


def test_front_matter_names_the_models_of_the_hub(space, front_matter):
    offers = space.menu.Menu.read().by_model.values()
    named = [name for offer in offers for name in (offer.model, offer.mild) if name and "/" in name]
    assert front_matter["models"] == named


def test_requirements_name_hfsr_with_its_extra():
    lines = (SPACE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["hfsr[demo]>=0.1"]


def test_every_module_is_short_and_imports_only_hfsr_and_its_neighbours():
    """A Space has only its own folder, and what its requirements install."""
    modules = list((SPACE / "hfsr_space").glob("*.py"))
    assert len(modules) > 5
    for module in modules:
        text = module.read_text(encoding="utf-8")
        assert text.count("\n") < 250, module.name
        roots = {
            line.split()[1].split(".")[0]
            for line in text.splitlines()
            if line.startswith(("import ", "from "))
        }
        assert roots - {""} <= {"hfsr", "gradio", "starlette", "yaml", *sys.stdlib_module_names}, module.name


# The menu


def test_the_menu_is_read_in_the_order_of_the_file(space, tmp_path):
    listed = tmp_path / "models.yml"
    listed.write_text(
        "Enlarge:\n  4 times: {model: org/b-x4, mild: org/a-x4}\n  2 times: a-x2\nClean: {photos: org/c}\n"
    )
    menu = space.menu.Menu.read(listed)
    assert menu.tasks == ["Enlarge", "Clean"]
    assert menu.first == space.menu.Offer("Enlarge", "4 times", "org/b-x4", mild="org/a-x4")
    assert menu.of_task("Enlarge") == [("4 times", "org/b-x4"), ("2 times", "a-x2")]


@pytest.mark.parametrize("text", ["{}", "Enlarge: {}", "Enlarge: {a: m}\nClean: {b: m}"])
def test_a_menu_without_a_choice_or_with_one_twice(space, tmp_path, text):
    (tmp_path / "models.yml").write_text(text)
    with pytest.raises(OptionsError, match="list each model once, and at least one"):
        space.menu.Menu.read(tmp_path / "models.yml")


def test_every_bundled_model_is_on_the_menu_and_no_other_without_an_owner(space):
    local = {name for name in space.menu.Menu.read().by_model if "/" not in name}
    assert local == set(_resources.bundled_models())


def test_a_model_is_loaded_once(space, tmp_path):
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), tmp_path / "a")
    menu = space.menu.Menu([space.menu.Offer("Enlarge", "a", str(tmp_path / "a"), mild=str(tmp_path / "a"))])
    assert menu.load(str(tmp_path / "a")) is menu.load(str(tmp_path / "a"))
    assert menu.load(str(tmp_path / "a"), 0.5) is menu.load(str(tmp_path / "a"), 0.5)
    assert menu.load(str(tmp_path / "a"), 0.5) is not menu.load(str(tmp_path / "a"))


# The work


def test_before_and_after_have_one_size(space, photo, tmp_path):
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = space.jobs.compare(photo, png, 2)
    with Image.open(before) as shown, Image.open(photo) as given:
        assert np.array_equal(
            np.asarray(shown), np.asarray(given.resize((600, 400), Image.Resampling.BICUBIC))
        )
    assert after == png
    assert sizes == "300 × 200 px became 600 × 400 px."


def test_a_large_result_is_shown_reduced_and_said_to_be(space, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(space.jobs.limits, "MAX_SHOWN", 60_000)
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = space.jobs.compare(photo, png, 2)
    with Image.open(before) as shown, Image.open(after) as result, Image.open(png) as whole:
        assert shown.size == result.size == (300, 200)
        assert whole.size == (600, 400)
    assert sizes.endswith("The comparison is reduced, the download is not.")


def test_a_picture_shown_upright_keeps_lying_on_its_result(space, tmp_path):
    lying = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees to look at it
    Image.new("RGB", (30, 20)).save(lying, exif=exif)
    before, _, sizes = space.jobs.compare(lying, tmp_path / "lying_x3.png", 3)
    assert sizes == "20 × 30 px became 60 × 90 px."
    with Image.open(before) as shown:
        assert shown.size == (60, 90)


def test_zero_shot_writes_what_the_class_does(space, photo, tmp_path, monkeypatch):
    quick = partial(hfsr.ZeroShot, config=ZeroShotConfig(iterations=20))
    monkeypatch.setattr(hfsr, "ZeroShot", quick)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 24, 20)).save(small)
    told = []
    for shown, png, said in space.jobs.zeroshot(small, scale=3, kind="real"):
        told.append(said)
        if png is not None:
            assert png.name == "small_zeroshot_x3.png"
            assert shown[1] == png
            with Image.open(png) as image:
                result = np.asarray(image)
    quick(scale=3, real=True).file(small, tmp_path / "own.png")
    with Image.open(tmp_path / "own.png") as image:
        assert np.array_equal(result, np.asarray(image))
    assert "Learning takes" in told[1]
    assert any("step 10 of at most 20, loss 0." in said for said in told)
    assert "24 × 20 px became 72 × 60 px." in told[-1]
    assert "ZSSR x3, learned in 20 steps" in told[-1]
    assert not png.exists()


def test_uploads_that_broke_off_are_swept_and_nothing_else(space, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "0a1b").mkdir()
    for name in ("tmpold", "tmpnew", "0a1b/tmpold"):
        (tmp_path / name).touch()
    hours_ago = time.time() - 2 * 3600
    for name in ("tmpold", "0a1b/tmpold", "0a1b"):
        os.utime(tmp_path / name, (hours_ago, hours_ago))
    space.jobs.sweep()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("tmp*")) == [
        "0a1b/tmpold",
        "tmpnew",
    ]


# The words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (1.6, "2 seconds"), (99.4, "99 seconds"), (100, "2 minutes"), (3600, "60 minutes")],
)
def test_time_in_words(space, seconds, words):
    assert space.words.in_words(seconds) == words


def test_learning_in_words(space):
    def said(done, total, seconds, stage, loss=None, losses=()):
        return space.words.learned(FitProgress(done, total, seconds, stage=stage, loss=loss), losses)

    assert "<p>Estimating the kernel</p>" in said(0, 1, None, "estimating the kernel")
    assert "<p>Enlarging</p>" in said(4, 8, 2.0, "enlarging")
    assert 'value="0.500"' in said(4, 8, 2.0, "enlarging")
    learning = said(100, 400, 30.0, "learning", 0.02, [0.5 - 0.01 * i for i in range(40)])
    assert "<p>Learning: step 100 of at most 400, loss 0.0200, 30 seconds left at most</p>" in learning
    assert 'aria-label="Loss so far: from 0.4900 to ' in learning


def test_the_curve_falls_as_the_loss_does(space):
    drawn = space.words.curve([0.5 - 0.001 * i for i in range(300)])
    points = [
        tuple(map(float, point.split(","))) for point in drawn.split('points="')[1].split('"')[0].split()
    ]
    assert 50 <= len(points) <= 60
    assert points == sorted(points)
    assert (points[0][0], points[-1][0]) == (0, 100)
    assert [y for _, y in points] == sorted(y for _, y in points)  # downwards on the page
    assert space.words.curve([0.5] * 3) == space.words.curve([0.0] * 100) == ""


def test_an_error_is_told_without_the_place_of_uploads(space):
    source = Path("/somewhere/secret/photo.png")
    with pytest.raises(gradio.Error) as caught, space.words.readable(source):
        raise ImageError(f"'{source}' is empty (0 bytes); get the file again")
    assert caught.value.message == "'photo.png' is empty (0 bytes); get the file again"
