"""Tests of the Space's files and modules without a server."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import hfsr
from hfsr import _resources, cli
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
    from hfsr_space import catalog, choices, jobs, messages, page, results, uploads, upscale_tab, widgets

    modules = (catalog, choices, jobs, messages, page, results, upscale_tab, uploads, widgets)
    return type("Space", (), {module.__name__.rpartition(".")[2]: module for module in modules})


@pytest.fixture(scope="module")
def page(space):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Gradio does not close its event loops
        page = space.page.build()
        gc.collect()
    return page


@pytest.fixture(scope="module")
def front_matter():
    return yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])


# The page


def test_page_widgets(page):
    labels = {block.label for block in page.blocks.values() if getattr(block, "label", None)}
    assert {"What to do", "Kind of image", "Size", "File format", "Tile size", "Arithmetic"} <= labels
    assert {"Self-ensemble", "Strength", "Times larger", "The image is"} <= labels
    choices = [label for block in page.blocks.values() for label, _ in getattr(block, "choices", None) or ()]
    assert {"Automatic", "Photo from the web or a phone", "Clean image", "Remove noise"} <= set(choices)
    assert "Remove JPEG artifacts" not in choices or "hfsr-dejpeg" in _resources.bundled_models()
    assert {"2×", "3×", "4×", "Fit to a width", "PNG", "JPEG", "WebP"} <= set(choices)
    assert not page.is_running


def test_api_endpoints_and_defaults(page):
    endpoints = page.get_api_info()["named_endpoints"]
    arguments = {
        name: {p["parameter_name"]: p.get("parameter_default") for p in endpoint["parameters"]}
        for name, endpoint in endpoints.items()
    }
    advanced = {"tile": "auto", "dtype": "auto", "self_ensemble": False, "strength": 1}
    size = {"scale": 0, "width": 0, "format": "png"}
    assert arguments == {
        "/upscale": {"image": None, "model": "auto", **advanced, **size},
        "/zeroshot": {"image": None, "scale": 2, "kind": "bicubic"},
    }
    for endpoint in endpoints.values():
        assert [p["parameter_name"] for p in endpoint["parameters"] if not p["parameter_has_default"]] == [
            "image"
        ]
        assert all(p["type"] for p in endpoint["parameters"])


def test_api_accepts_what_it_announces(space, page, photo, tmp_path, monkeypatch):
    """Each announced choice, with an image: the job begins."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    begun = []
    for name in ("upscale", "zeroshot"):
        monkeypatch.setattr(
            space.jobs, name, lambda *values, **named: begun.append((values, named)) or iter(())
        )
    shutil.copy(photo, tmp_path / "photo.png")
    image = {"path": str(tmp_path / "photo.png")}
    functions = {fn.api_name: fn.fn for fn in page.fns.values() if fn.api_name in ("upscale", "zeroshot")}
    tried = 0
    for name, endpoint in page.get_api_info()["named_endpoints"].items():
        parameters = endpoint["parameters"]
        defaults = [image, *(parameter["parameter_default"] for parameter in parameters[1:])]
        for index, parameter in enumerate(parameters):
            for choice in parameter["type"].get("enum", []):
                arguments = [*defaults[:index], choice, *defaults[index + 1 :]]
                assert list(functions[name.removeprefix("/")](*arguments)) == []
                tried += 1
                assert len(begun) == tried
    (model,) = (
        p
        for p in page.get_api_info()["named_endpoints"]["/upscale"]["parameters"]
        if p["parameter_name"] == "model"
    )
    assert model["type"]["enum"] == space.catalog.ModelCatalog.read().names
    assert set(_resources.bundled_models()) < set(model["type"]["enum"])


def test_examples_are_sorted_by_size(space):
    sizes = [space.widgets.pixel_count(path) for path in space.widgets.samples()]
    assert len(sizes) == 3
    assert sizes == sorted(sizes)


def test_upload_limit_is_a_whole_number_of_megabytes(space, page):
    """Gradio's upload widget shows the limit in units of 2^20 bytes; README and errors say 50 MB."""
    assert space.page.server_settings(page)["max_file_size"] == 50 * 2**20
    assert "| file | 50 MB |" in (SPACE / "README.md").read_text(encoding="utf-8")


def test_all_jobs_share_one_queue(page):
    queued = [fn for fn in page.fns.values() if fn.queue and fn.fn]
    assert sorted(fn.fn.__name__ for fn in queued) == ["run", "run", "upscale", "zeroshot"]
    assert {(fn.concurrency_id, fn.concurrency_limit) for fn in queued} == {("work", 1)}
    assert all(fn.validator is not None for fn in queued)
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
    assert [line for line in lines if not line.startswith("#")] == ["hfsr[demo]>=0.2"]


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
        assert roots - {""} <= {"hfsr", "gradio", "PIL", "starlette", "yaml", *sys.stdlib_module_names}, (
            module.name
        )


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


def test_catalog_offers_bundled_models_only(space):
    catalog = space.catalog.ModelCatalog.read()
    assert set(catalog.by_model) - space.catalog.PURPOSES.keys() <= set(_resources.bundled_models())
    assert catalog.tasks[:2] == ["Enlarge", "Remove noise"]


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Bundles other models: tiny networks, by name and task, which enlarge as their names say."""

    def bundle(**models):
        package = tmp_path / "installed" / "hfsr"
        for name, task in models.items():
            folder = package / "weights" / name.replace("_", "-")
            scale = int(folder.name[6]) if folder.name[6].isdigit() else 1
            torch.manual_seed(len(name))
            network = hfsr.create_model(
                "MSRResNet" if scale > 1 else "EDSR", num_feat=8, num_block=1, upscale=scale
            )
            hfsr.save_pretrained(network, folder)
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "task": task}))
        monkeypatch.setattr(_resources, "_PACKAGE", package)

    return bundle


DENOISER, DEJPEG = {"hfsr_denoise": "denoising"}, {"hfsr_dejpeg": "jpeg-artifact-removal"}


@pytest.mark.parametrize(
    ("models", "offered"),
    [
        ({}, {}),
        (DENOISER, {"Remove noise": [("Noise of any strength", "hfsr-denoise")]}),
        (DEJPEG, {"Remove JPEG artifacts": [("JPEG of any quality", "hfsr-dejpeg")]}),
        (
            DENOISER | DEJPEG,
            {
                "Remove noise": [("Noise of any strength", "hfsr-denoise")],
                "Remove JPEG artifacts": [("JPEG of any quality", "hfsr-dejpeg")],
            },
        ),
    ],
)
def test_restorations_are_offered_where_their_model_is_bundled(space, bundle, photo, models, offered):
    bundle(**models)
    catalog = space.catalog.ModelCatalog.read(SPACE / "models.yml")
    assert {task: catalog.of_task(task) for task in catalog.tasks[1:]} == offered
    assert {"hfsr-denoise", "hfsr-dejpeg"} & set(catalog.names) == {
        name for models in offered.values() for _, name in models
    }
    for _, name in [model for models in offered.values() for model in models]:
        choice = space.choices.choose(catalog, photo, space.choices.Settings(name))
        assert (choice.models, choice.suffix, choice.result) == ((name,), "_restored", choice.image)


def test_page_and_api_of_a_bundled_model_against_jpeg_artifacts(space, bundle):
    bundle(hfsr_x2="super-resolution", hfsr_x2_small="super-resolution", **DEJPEG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Gradio does not close its event loops
        page = space.page.build_page(space.catalog.ModelCatalog.read(SPACE / "models.yml"))
        gc.collect()
    (tasks,) = (block for block in page.blocks.values() if getattr(block, "label", None) == "What to do")
    assert [label for label, _ in tasks.choices] == ["Enlarge", "Remove JPEG artifacts"]
    model = page.get_api_info()["named_endpoints"]["/upscale"]["parameters"][1]
    assert "hfsr-dejpeg" in model["type"]["enum"]
    assert "hfsr-denoise" not in model["type"]["enum"]


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        ("photo", ("keeps detail", "removes artifacts")),
        ("hfsr-x2-photo", ("keeps detail", "removes artifacts")),
        ("auto", None),
        ("clean", None),
        ("hfsr-x2", None),
        ("hfsr-denoise", None),
        ("hfsr-x3-photo", None),  # without a clean partner
    ],
)
def test_strength_is_offered_where_it_has_an_effect(space, bundle, model, labels):
    names = ("hfsr_x2", "hfsr_x2_photo", "hfsr_x2_small", "hfsr_x3_photo")
    bundle(**dict.fromkeys(names, "super-resolution"), **DENOISER)
    catalog = space.catalog.ModelCatalog.read(SPACE / "models.yml")
    assert catalog.strength_labels(model) == labels
    values = (0, 1920, "png", "auto", "auto", False)
    if model in catalog.by_model:
        settings = space.upscale_tab.to_settings(catalog, model, *values, 0.5)
        assert settings.strength == (1 if labels is None else 0.5)


def test_photos_have_no_strength_without_clean_models(space, bundle):
    bundle(hfsr_x2_photo="super-resolution")
    assert space.catalog.ModelCatalog.read(SPACE / "models.yml").strength_labels("photo") is None


@pytest.mark.parametrize("model", ["photo", "hfsr-x2-photo"])
@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_strength_is_that_of_the_command_line(space, bundle, photo, tmp_path, model, strength):
    bundle(hfsr_x2="super-resolution", hfsr_x2_photo="super-resolution")
    space.catalog._load_trained.cache_clear()
    catalog = space.catalog.ModelCatalog.read(SPACE / "models.yml")
    settings = space.choices.Settings(model, scale=2, dtype="fp32", strength=strength)
    choice = space.choices.choose(catalog, photo, settings)
    target, own = tmp_path / "a.png", tmp_path / "own.png"
    details = [step[1] for step in space.jobs.run_model(photo, target, choice, settings)][-1]
    assert dict(details)["Computed by"]
    wanted = [
        "upscale",
        str(photo),
        "-s",
        "2",
        "--dtype",
        "fp32",
        "--strength",
        str(strength),
        "-o",
        str(own),
    ]
    assert cli.main(wanted) == 0
    with Image.open(target) as found, Image.open(own) as expected:
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert (
        space.jobs._name(choice)
        == {
            0: "hfsr-x2",
            0.25: "hfsr-x2 to hfsr-x2-photo at 0.25",
            1: "hfsr-x2-photo",
        }[strength]
    )
    space.catalog._load_trained.cache_clear()


@pytest.mark.parametrize(
    ("name", "settings", "models", "is_photo", "reason", "suffix"),
    [
        ("a.png", {"model": "auto"}, ("hfsr-x2",), False, "lossless PNG", "_x2"),
        ("a.jpg", {"model": "auto"}, ("hfsr-x2-photo",), True, "JPEG of quality 60", "_x2"),
        ("a.jpg", {"model": "auto", "scale": 4}, ("hfsr-x4-photo",), True, "JPEG of quality 60", "_x4"),
        ("a.jpg", {"model": "clean", "scale": 3}, ("hfsr-x3",), False, None, "_x3"),
        ("a.png", {"model": "photo", "width": 70}, ("hfsr-x4-photo",), True, None, "_w70"),
        ("a.png", {"model": "hfsr-denoise"}, ("hfsr-denoise",), None, None, "_restored"),
        ("a.png", {"model": "hfsr-x2-small", "width": 45}, ("hfsr-x2-small",), None, None, "_w45"),
    ],
)
def test_choice_of_models(space, tmp_path, name, settings, models, is_photo, reason, suffix):
    Image.new("RGB", (30, 20), (90, 40, 200)).save(tmp_path / name, quality=60)
    catalog = space.catalog.ModelCatalog.read()
    choice = space.choices.choose(catalog, tmp_path / name, space.choices.Settings(**settings))
    assert (choice.models, choice.is_photo, choice.reason) == (models, is_photo, reason)
    assert choice.suffix == suffix


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "hfsr-x2-small", "scale": 4}, "more than the model's x2"),
        ({"model": "auto", "width": 20}, "hfsr enlarges: ask for more"),
        ({"model": "auto", "strength": 0.5}, "'Automatic' has only one strength; leave it at 1"),
    ],
)
def test_choice_that_is_not_possible(space, photo, settings, message):
    catalog = space.catalog.ModelCatalog.read()
    with pytest.raises(OptionsError, match=message):
        space.choices.choose(catalog, photo, space.choices.Settings(**settings))


def test_a_job_corrects_the_expected_time(space, tmp_path):
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), tmp_path / "a")
    models, size = (str(tmp_path / "a"),), space.choices.Size(300, 400)
    assert space.choices.expected_seconds(models, size) > 0
    space.choices.record_seconds(models, size, 12.0, self_ensemble=False)
    assert space.choices.expected_seconds(models, size) == pytest.approx(12)
    assert space.choices.expected_seconds(models, size, self_ensemble=True) == pytest.approx(96)
    space.choices.record_seconds(
        models, space.choices.Size(9, 9), 5.0, self_ensemble=False
    )  # too small to tell
    assert space.choices.expected_seconds(models, size) == pytest.approx(12)
    assert space.choices.expected_seconds((str(tmp_path / "nothing"),), size) is None


def test_models_are_cached(space, tmp_path):
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), tmp_path / "a")
    catalog = space.catalog.ModelCatalog(
        [space.catalog.CatalogEntry("Enlarge", "a", str(tmp_path / "a"), mild=str(tmp_path / "a"))]
    )
    load, name = space.catalog.load, str(tmp_path / "a")
    between = catalog.at_strength(name, 0.5)
    assert load(name) is load(name)
    assert load(between) is load(between)
    assert load(between) is not load(name)


def test_preload_loads_the_models_of_the_first_choice(space, photo, monkeypatch):
    loaded = []
    monkeypatch.setattr(space.choices, "load", loaded.append)
    monkeypatch.setattr(space.choices, "expected_seconds", lambda *_: 1.0)
    preloading = space.choices.Preload(space.catalog.ModelCatalog.read(), photo)
    preloading.start()
    preloading.join()
    preloading.stop()
    assert not preloading.is_alive()
    assert loaded == ["hfsr-x2", "hfsr-x2-photo"]


# Uploads and results


def test_rows_of_chosen_images(space, photo):
    row = space.uploads.rows([photo])
    assert f"<strong>{photo.name}</strong><br>300 × 200, " in row
    assert 'src="data:image/webp;base64,' in row
    assert space.uploads.rows([]) == ""


def test_too_large_or_damaged_images_are_refused_when_they_are_chosen(space, photo, tmp_path):
    Image.new("1", (20_000, 1_000)).save(tmp_path / "wide.png")
    with pytest.raises(gradio.Error, match="over the limit of 16,000,000 px"):
        space.uploads.check_image(tmp_path / "wide.png")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:5000])
    with pytest.raises(gradio.Error, match=r"^\"?'cut.png'"):
        space.uploads.check_image(tmp_path / "cut.png")


def test_comparison_shows_the_files_themselves(space, photo, tmp_path):
    target = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(target)
    result = space.results.describe(photo, target, seconds=6.2, details=[("Model", "m")])
    assert (result.before, result.after, result.file) == (str(photo), str(target), str(target))
    assert (result.width, result.height) == (600, 400)
    assert result.line == f"600 × 400, {space.messages.format_bytes(target.stat().st_size)}, 6 seconds"
    assert result.report == f"{result.line}\nModel: m"
    milder = space.results.describe(photo, target, seconds=6.2, strength=0.5)
    assert milder.line == f"{result.line}, strength 0.5"


def test_line_of_an_image_that_keeps_its_size(space, photo):
    result = space.results.describe(photo, photo, seconds=1, task="Remove noise")
    assert result.line.startswith("Remove noise: 300 × 200, ")


def test_large_comparison_is_reduced(space, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(space.results.limits, "MAX_SHOWN", 60_000)
    target = tmp_path / "photo_x2.png"
    Image.new("RGB", (600, 400)).save(target)
    result = space.results.describe(photo, target, seconds=1)
    assert (result.width, result.height) == (300, 200)
    with Image.open(result.after) as shown, Image.open(target) as whole:
        assert (shown.size, whole.size) == ((300, 200), (600, 400))
    assert ("Comparison", "reduced to 300 × 200; the download is not") in result.details


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_image_before_is_upright_in_every_browser(space, tmp_path, suffix):
    source = tmp_path / f"rotated{suffix}"
    exif = Image.Exif()
    exif[274] = 6  # rotate by 90 degrees for display
    Image.new("RGB", (30, 20)).save(source, exif=exif)
    Image.new("RGB", (60, 90)).save(tmp_path / "rotated_x3.png")
    result = space.results.describe(source, tmp_path / "rotated_x3.png", seconds=1)
    with Image.open(result.before) as shown:
        assert (shown.format, shown.size) == ("PNG", (20, 30))


def test_zip_numbers_equal_names(space, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_text(folder)
    archive = space.results.make_zip([tmp_path / "a/x.png", tmp_path / "b/x.png"], tmp_path / "all.zip")
    with zipfile.ZipFile(archive) as files:
        assert [(name, files.read(name)) for name in files.namelist()] == [("x.png", b"a"), ("x_2.png", b"b")]


# Jobs


def test_zeroshot_job_matches_the_class(space, photo, tmp_path, monkeypatch):
    quick = partial(hfsr.ZeroShot, config=ZeroShotConfig(iterations=20))
    monkeypatch.setattr(hfsr, "ZeroShot", quick)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    small = tmp_path / "small.png"
    with Image.open(photo) as image:
        image.crop((0, 0, 24, 20)).save(small)
    steps = space.jobs.zeroshot(small, scale=3, kind="real")
    texts = []
    for step in steps:
        if isinstance(step, space.results.Result):
            with Image.open(step.file) as image:
                found = np.asarray(image)
            result = step
        else:
            texts.append(str(step))
    quick(scale=3, real=True).file(small, tmp_path / "own.png")
    with Image.open(tmp_path / "own.png") as image:
        assert np.array_equal(found, np.asarray(image))
    assert texts[0] == "Getting ready"
    assert texts[1].startswith("Learning, often in less time, about")
    assert any("step 10 of at most 20, loss 0." in text for text in texts)
    assert result.name == "small_zeroshot_x3.png"
    assert result.line.startswith("72 × 60, ")
    assert "ZSSR x3, learned in 20 steps" in result.details[0][1]
    assert not Path(result.file).exists()


def test_delete_leftovers(space, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "0a1b").mkdir()
    (tmp_path / "mcp/2c").mkdir(parents=True)
    for name in ("tmpold", "tmpnew", "0a1b/tmpold", "mcp/2c/tmpold"):
        (tmp_path / name).touch()
    hours_ago = time.time() - 2 * 3600
    for name in ("tmpold", "0a1b/tmpold", "0a1b", "mcp/2c/tmpold"):
        os.utime(tmp_path / name, (hours_ago, hours_ago))
    space.uploads.delete_leftovers()
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
    def progress(done, total, seconds, stage, loss=None, losses=()):
        step = FitProgress(done, total, seconds, stage=stage, loss=loss)
        return space.messages.training_progress(step, losses)

    assert str(progress(0, 1, None, "estimating the kernel")) == "Estimating the kernel"
    assert progress(4, 8, 2.0, "enlarging").fraction == 0.5
    learning = progress(100, 400, 30.0, "learning", 0.02, [0.5 - 0.01 * i for i in range(40)])
    assert str(learning) == "Learning: step 100 of at most 400, loss 0.0200, about 30 seconds left"
    assert 'aria-label="Loss so far: from 0.4900 to ' in space.messages.progress_bar(learning)


def test_progress_bar_of_one_of_several_images(space):
    progress = space.messages.JobProgress("<working>", 0.5, 8.0)
    html = space.messages.progress_bar(progress, index=1, count=4)
    assert 'data-fraction="0.375"' in html
    assert 'data-end="0.500"' in html
    assert 'data-left="8.0"' in html
    assert "<p>2 of 4: &lt;working&gt;<span" in html
    assert "data-fraction" not in space.messages.progress_bar(space.messages.JobProgress("Getting ready"))


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
