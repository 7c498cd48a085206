"""Tests of the Space's files and modules without a server."""

from __future__ import annotations

import gc
import os
import sys
import threading
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
    """The modules of the Space's package."""
    load_app()
    from hfsr_space import catalog, jobs, messages, page

    return type("Space", (), {"jobs": jobs, "catalog": catalog, "page": page, "messages": messages})


@pytest.fixture(scope="module")
def page(space):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Gradio does not close its event loops
        page = space.page.build({"twice": "hfsr-x2"})
        gc.collect()
    return page


@pytest.fixture(scope="module")
def front_matter():
    return yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])


# The page


def test_page_widgets(page):
    labels = {block.label for block in page.blocks.values() if getattr(block, "label", None)}
    assert {"Your image", "What to do", "Model", "Before | after"} <= labels
    assert {
        "Tile size",
        "Arithmetic",
        "Self-ensemble",
        "Strength",
        "Times larger",
        "The image is",
    } <= labels
    assert not page.is_running


def test_api_endpoints_and_defaults(page):
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


def test_api_announces_what_it_accepts(space):
    """Each announced choice passes the checks, and fails only because no image was uploaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        page = space.page.build()
        gc.collect()
    functions = {fn.api_name: fn.fn for fn in page.fns.values() if fn.api_name in ("upscale", "zeroshot")}
    for name, endpoint in page.get_api_info()["named_endpoints"].items():
        parameters = endpoint["parameters"]
        defaults = [parameter["parameter_default"] for parameter in parameters]
        for index, parameter in enumerate(parameters):
            for choice in parameter["type"].get("enum", []):
                arguments = [*defaults[:index], choice, *defaults[index + 1 :]]
                with pytest.raises(gradio.Error) as caught:
                    next(functions[name.removeprefix("/")](*arguments))
                assert caught.value.message == "Drop an image first.", (name, choice)
    (model,) = (
        p
        for p in page.get_api_info()["named_endpoints"]["/upscale"]["parameters"]
        if p["parameter_name"] == "model"
    )
    assert model["type"]["enum"] == list(space.catalog.ModelCatalog.read().by_model)


def test_examples_are_sorted_by_size(page):
    (first, *_) = (block for block in page.blocks.values() if type(block).__name__ == "Dataset")
    sizes = []
    for (path,) in first.samples:
        with Image.open(path["path"] if isinstance(path, dict) else path) as image:
            sizes.append(image.width * image.height)
    assert len(sizes) == 3
    assert sizes == sorted(sizes)


def test_upload_limit_is_a_whole_number_of_megabytes(space, page):
    """Gradio's upload widget shows the limit in units of 2^20 bytes; README and errors say 50 MB."""
    assert space.page.server_settings(page)["max_file_size"] == 50 * 2**20
    assert "| file | 50 MB |" in (SPACE / "README.md").read_text(encoding="utf-8")


def test_all_jobs_share_one_queue(page):
    queues = {fn.api_name: fn.concurrency_id for fn in page.fns.values() if fn.queue and fn.fn}
    assert queues == {"upscale": "work", "zeroshot": "work"}
    assert {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "work"} == {1}
    assert page._queue.max_size == 8


# The files


def test_front_matter(front_matter):
    assert front_matter["sdk"] == "gradio"
    assert front_matter["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
    assert front_matter["python_version"] in {"3.10", "3.12"}  # versions available on ZeroGPU
    assert (SPACE / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60


def test_front_matter_lists_the_hub_models(space, front_matter):
    entries = space.catalog.ModelCatalog.read().by_model.values()
    named = [name for entry in entries for name in (entry.model, entry.mild) if name and "/" in name]
    assert front_matter["models"] == named


def test_requirements():
    lines = (SPACE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["hfsr[demo]>=0.1"]


def test_modules_are_short_and_import_only_requirements():
    """A Space can import only its own folder and the packages that its requirements install."""
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


# Catalog


def test_catalog_keeps_the_order_of_the_file(space, tmp_path):
    listed = tmp_path / "models.yml"
    listed.write_text(
        "Enlarge:\n  4 times: {model: org/b-x4, mild: org/a-x4}\n  2 times: a-x2\nClean: {photos: org/c}\n"
    )
    catalog = space.catalog.ModelCatalog.read(listed)
    assert catalog.tasks == ["Enlarge", "Clean"]
    assert catalog.first == space.catalog.CatalogEntry("Enlarge", "4 times", "org/b-x4", mild="org/a-x4")
    assert catalog.of_task("Enlarge") == [("4 times", "org/b-x4"), ("2 times", "a-x2")]


@pytest.mark.parametrize("text", ["{}", "Enlarge: {}", "Enlarge: {a: m}\nClean: {b: m}"])
def test_empty_catalog_or_duplicate_model(space, tmp_path, text):
    (tmp_path / "models.yml").write_text(text)
    with pytest.raises(OptionsError, match="list each model once, and at least one"):
        space.catalog.ModelCatalog.read(tmp_path / "models.yml")


def test_catalog_lists_all_bundled_models(space):
    local = {name for name in space.catalog.ModelCatalog.read().by_model if "/" not in name}
    assert local == set(_resources.bundled_models())


def test_models_are_cached(space, tmp_path):
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), tmp_path / "a")
    catalog = space.catalog.ModelCatalog(
        [space.catalog.CatalogEntry("Enlarge", "a", str(tmp_path / "a"), mild=str(tmp_path / "a"))]
    )
    assert catalog.load(str(tmp_path / "a")) is catalog.load(str(tmp_path / "a"))
    assert catalog.load(str(tmp_path / "a"), 0.5) is catalog.load(str(tmp_path / "a"), 0.5)
    assert catalog.load(str(tmp_path / "a"), 0.5) is not catalog.load(str(tmp_path / "a"))


def test_preload_loads_the_first_model(space, monkeypatch):
    loaded = []
    catalog = space.catalog.ModelCatalog([space.catalog.CatalogEntry("Enlarge", "a", "first")])
    monkeypatch.setattr(space.catalog, "load", loaded.append)
    catalog.preload()
    for thread in threading.enumerate():
        if thread.name == "preload":
            thread.join()
    assert loaded == ["first"]


# Jobs


def test_comparison_has_images_of_one_size(space, photo, tmp_path):
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = space.jobs.make_comparison(photo, png, 2, "Enlarge")
    with Image.open(before) as shown, Image.open(photo) as given:
        assert np.array_equal(
            np.asarray(shown), np.asarray(given.resize((600, 400), Image.Resampling.BICUBIC))
        )
    assert after == png
    assert sizes == "300 × 200 px became 600 × 400 px."


def test_report_of_an_image_that_keeps_its_size(space, photo):
    *_, sizes = space.jobs.make_comparison(photo, photo.with_name("photo_x1.png"), 1, "Remove noise")
    assert sizes == "Remove noise: done. The image still has 300 × 200 px."


def test_large_comparison_is_reduced(space, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(space.jobs.limits, "MAX_SHOWN", 60_000)
    png = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(png)
    before, after, sizes = space.jobs.make_comparison(photo, png, 2, "Enlarge")
    with Image.open(before) as shown, Image.open(after) as result, Image.open(png) as whole:
        assert shown.size == result.size == (300, 200)
        assert whole.size == (600, 400)
    assert sizes.endswith("The comparison is reduced, the download is not.")


def test_comparison_applies_exif_orientation(space, tmp_path):
    rotated = tmp_path / "rotated.jpg"
    exif = Image.Exif()
    exif[274] = 6  # rotate by 90 degrees for display
    Image.new("RGB", (30, 20)).save(rotated, exif=exif)
    before, _, sizes = space.jobs.make_comparison(rotated, tmp_path / "rotated_x3.png", 3, "Enlarge")
    assert sizes == "20 × 30 px became 60 × 90 px."
    with Image.open(before) as shown:
        assert shown.size == (60, 90)


def test_zeroshot_job_matches_the_class(space, photo, tmp_path, monkeypatch):
    quick = partial(hfsr.ZeroShot, config=ZeroShotConfig(iterations=20))
    monkeypatch.setattr(hfsr, "ZeroShot", quick)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 24, 20)).save(small)
    reports = []
    for shown, png, report in space.jobs.zeroshot(small, scale=3, kind="real"):
        reports.append(report)
        if png is not None:
            assert png.name == "small_zeroshot_x3.png"
            assert shown[1] == png
            with Image.open(png) as image:
                result = np.asarray(image)
    quick(scale=3, real=True).file(small, tmp_path / "own.png")
    with Image.open(tmp_path / "own.png") as image:
        assert np.array_equal(result, np.asarray(image))
    assert "Learning takes" in reports[1]
    assert any("step 10 of at most 20, loss 0." in report for report in reports)
    assert "24 × 20 px became 72 × 60 px." in reports[-1]
    assert "ZSSR x3, learned in 20 steps" in reports[-1]
    assert not png.exists()


def test_delete_partial_uploads(space, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "0a1b").mkdir()
    for name in ("tmpold", "tmpnew", "0a1b/tmpold"):
        (tmp_path / name).touch()
    hours_ago = time.time() - 2 * 3600
    for name in ("tmpold", "0a1b/tmpold", "0a1b"):
        os.utime(tmp_path / name, (hours_ago, hours_ago))
    space.jobs.delete_partial_uploads()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("tmp*")) == [
        "0a1b/tmpold",
        "tmpnew",
    ]


# Messages


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (1.6, "2 seconds"), (99.4, "99 seconds"), (100, "2 minutes"), (3600, "60 minutes")],
)
def test_format_seconds(space, seconds, text):
    assert space.messages.format_seconds(seconds) == text


def test_training_progress(space):
    def html(done, total, seconds, stage, loss=None, losses=()):
        return space.messages.training_progress(
            FitProgress(done, total, seconds, stage=stage, loss=loss), losses
        )

    assert "<p>Estimating the kernel</p>" in html(0, 1, None, "estimating the kernel")
    assert "<p>Enlarging</p>" in html(4, 8, 2.0, "enlarging")
    assert 'value="0.500"' in html(4, 8, 2.0, "enlarging")
    learning = html(100, 400, 30.0, "learning", 0.02, [0.5 - 0.01 * i for i in range(40)])
    assert "<p>Learning: step 100 of at most 400, loss 0.0200, 30 seconds left at most</p>" in learning
    assert 'aria-label="Loss so far: from 0.4900 to ' in learning


def test_loss_curve_decreases_with_the_loss(space):
    drawn = space.messages.loss_curve([0.5 - 0.001 * i for i in range(300)])
    points = [
        tuple(map(float, point.split(","))) for point in drawn.split('points="')[1].split('"')[0].split()
    ]
    assert 50 <= len(points) <= 60
    assert points == sorted(points)
    assert (points[0][0], points[-1][0]) == (0, 100)
    assert [y for _, y in points] == sorted(y for _, y in points)  # y axis points down
    assert space.messages.loss_curve([0.5] * 3) == space.messages.loss_curve([0.0] * 100) == ""


@pytest.mark.parametrize(("size", "text"), [(40, "0.1 KB"), (56_400, "56.4 KB"), (2_345_678, "2.3 MB")])
def test_format_bytes(space, size, text):
    assert space.messages.format_bytes(size) == text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("'a.png' is too large; raise the limit (--max-pixels) if you trust it", "'a.png' is too large"),
        ("the image has too little detail; name a kernel file", "the image has too little detail"),
        ("it needs 16 px; smaller images can be upscaled", "it needs 16 px; smaller images can be upscaled"),
        ("this needs timm; run: pip install 'hfsr[train]'", "this needs timm"),
        ("fp16 is not possible; use bf16; see hfsr upscale --help", "fp16 is not possible; use bf16"),
    ],
)
def test_advice_for_the_command_line_is_removed(space, message, text):
    assert space.messages.without_cli_advice(message) == text


def test_error_does_not_contain_the_upload_folder(space):
    source = Path("/somewhere/secret/photo.png")
    with pytest.raises(gradio.Error) as caught, space.messages.translate_errors(source):
        raise ImageError(f"'{source}' is empty (0 bytes); get the file again")
    assert caught.value.message == "'photo.png' is empty (0 bytes); get the file again"
