"""The bundled model that `upscale` takes where none is named: by the file, or by `--for`."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr import cli, create_model, model_choice, save_pretrained
from hfsr.checkpoints import interpolate
from hfsr.errors import OptionsError
from hfsr.model_choice import Interpolated, ModelChoice, choose_models, choose_restorer

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundled(monkeypatch):
    names = ["hfsr-denoise", "hfsr-x2", "hfsr-x2-photo", "hfsr-x3"]
    monkeypatch.setattr(model_choice._resources, "bundled_models", lambda: names)


def choose(name, *, scale=2, purpose=None, strength=None, **options):
    if not Path(name).exists():
        IMAGE.save(name, **options)
    return choose_models(Path(name), scale=scale, purpose=purpose, strength=strength)


@pytest.mark.parametrize(
    ("scale", "clean", "photo"),
    [
        (1, "hfsr-x2", "hfsr-x2-photo"),
        (1.5, "hfsr-x2", "hfsr-x2-photo"),
        (2, "hfsr-x2", "hfsr-x2-photo"),
        (2.01, "hfsr-x3", "hfsr-x4-photo"),
        (3, "hfsr-x3", "hfsr-x4-photo"),
        (3.5, "hfsr-x4", "hfsr-x4-photo"),
        (4, "hfsr-x4", "hfsr-x4-photo"),
        (6, "hfsr-x2 + hfsr-x3", "hfsr-x2-photo + hfsr-x3"),
        (8, "hfsr-x2 + hfsr-x4", "hfsr-x2-photo + hfsr-x4"),
        (16, "hfsr-x4 + hfsr-x4", "hfsr-x4-photo + hfsr-x4"),
    ],
)
def test_the_smallest_models_that_reach_a_scale(scale, clean, photo):
    assert choose("a.png", scale=scale).name == clean
    found = choose("a.jpg", scale=scale, quality=60)
    assert (found.name, found.reason) == (photo, "JPEG of quality 60")
    for names in (clean, photo):
        scales = [hfsr.from_pretrained(name).scale for name in names.split(" + ")]
        assert math.prod(scales) >= scale


def test_a_scale_beyond_all_models_is_refused():
    with pytest.raises(OptionsError, match="scale 17 is not reached by the bundled models; use 1 to 16"):
        choose("a.png", scale=17)


@pytest.mark.usefixtures("bundled")
class TestChoice:
    @pytest.mark.parametrize(
        ("name", "options", "model", "reason"),
        [
            ("a.jpg", {"quality": 60}, "hfsr-x2-photo", "JPEG of quality 60"),
            ("b.jpg", {"quality": 94}, "hfsr-x2-photo", "JPEG of quality 94"),
            ("c.jpg", {"quality": 95}, "hfsr-x2", "JPEG of quality 95"),
            ("a.webp", {"quality": 80}, "hfsr-x2-photo", "lossy WEBP"),
            ("b.webp", {"lossless": True}, "hfsr-x2", "lossless WEBP"),
            ("a.png", {}, "hfsr-x2", "lossless PNG"),
        ],
    )
    def test_the_file_decides(self, name, options, model, reason):
        assert choose(name, **options) == ModelChoice((model,), reason)

    @pytest.mark.parametrize(("purpose", "model"), [("photo", "hfsr-x2-photo"), ("clean", "hfsr-x2")])
    @pytest.mark.parametrize("name", ["a.jpg", "a.png"])
    def test_a_purpose_that_is_told_decides_instead(self, name, purpose, model):
        assert choose(name, purpose=purpose) == ModelChoice((model,), f"--for {purpose}")

    def test_a_scale_without_a_photo_model_gets_the_clean_one(self):
        assert choose("a.jpg", scale=3.0) == ModelChoice(("hfsr-x3",))
        told = choose("a.jpg", scale=3.0, purpose="photo")
        assert told == ModelChoice(("hfsr-x3",), "no photo model for x3 is bundled")

    def test_a_lossless_file_of_an_earlier_jpeg_gets_a_note_that_names_the_option(self):
        from skimage import data

        photo = Image.fromarray(data.coffee()).reduce(2)
        photo.save("clean.png")
        photo.save("before.jpg", quality=40)
        Image.open("before.jpg").save("blocks.png")
        assert choose("clean.png").note is None
        found = choose("blocks.png")
        assert found.name == "hfsr-x2"
        assert "--for photo" in found.note
        assert choose("blocks.png", purpose="clean").note is None
        assert choose("before.jpg").note is None

    def test_what_cannot_be_read_gets_the_clean_model(self):
        Path("a.jpg").write_text("text")
        assert choose("a.jpg") == ModelChoice(("hfsr-x2",))


@pytest.mark.parametrize(
    ("name", "quality", "words", "model"),
    [
        ("a.jpg", 60, [], "hfsr-dejpeg"),
        ("a.jpg", 90, ["-s", "1"], "hfsr-dejpeg"),
        ("a.webp", 60, [], "hfsr-dejpeg"),
        ("a.jpg", 91, [], "hfsr-denoise"),
        ("a.jpg", 60, ["--for", "noise"], "hfsr-denoise"),
        ("a.png", None, [], "hfsr-denoise"),
        ("a.png", None, ["--for", "jpeg"], "hfsr-dejpeg"),
        ("a.jpg", 60, ["-s", "2"], "hfsr-x2-photo"),
    ],
)
def test_restore_removes_what_the_file_betrays_unless_it_enlarges(capsys, name, quality, words, model):
    IMAGE.save(name, **({} if quality is None else {"quality": quality}))
    assert cli.main(["restore", name, "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == model


def test_without_a_model_for_jpegs_restore_denoises(monkeypatch):
    IMAGE.save("a.jpg", quality=60)
    monkeypatch.setattr(model_choice._resources, "bundled_models", lambda: ["hfsr-denoise", "hfsr-x2"])
    assert choose_restorer(Path("a.jpg")) == ModelChoice(("hfsr-denoise",), "JPEG of quality 60")


@pytest.mark.parametrize("purpose", ["noise", "jpeg"])
def test_restore_offers_what_is_bundled(capsys, monkeypatch, tmp_path, purpose):
    IMAGE.save("a.png")
    for name, task in (
        ("hfsr-a", "denoising"),
        ("hfsr-b", "jpeg-artifact-removal"),
        ("hfsr-x2", "denoising"),
    ):
        network = create_model("EDSR", num_feat=8, num_block=1, upscale=2 if name == "hfsr-x2" else 1)
        save_pretrained(network, tmp_path / "hfsr" / "weights" / name)
        config = tmp_path / "hfsr" / "weights" / name / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "task": task}))
    monkeypatch.setattr(model_choice._resources, "_PACKAGE", tmp_path / "hfsr")
    name = {"noise": "hfsr-a", "jpeg": "hfsr-b"}[purpose]
    assert cli.main(["restore", "a.png", "--for", purpose, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == name
    assert cli.main(["restore", "a.png", "--for", purpose]) == 0
    assert f"by {name} (--for {purpose})" in capsys.readouterr().out
    for command in (["upscale"], ["restore", "-s", "2"], ["restore", "--width", "200"]):
        assert cli.main([command[0], "a.png", "--for", purpose, *command[1:]]) == 2
        assert f"--for {purpose} keeps the size" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "hfsr" / "weights" / name)
    with pytest.raises(SystemExit):
        cli.main(["restore", "a.png", "--for", purpose])
    assert f"invalid choice: '{purpose}'" in capsys.readouterr().err


def test_a_named_model_and_a_purpose_do_not_go_together(capsys):
    IMAGE.save("a.png")
    assert cli.main(["upscale", "a.png", "-m", "hfsr-x2", "--for", "photo"]) == 2
    assert "-m names the model and --for chooses it; leave one out" in capsys.readouterr().err


class TestStrength:
    def test_the_ends_are_the_two_models(self):
        assert choose("a.jpg", strength=0) == ModelChoice(("hfsr-x2",), "--strength 0")
        assert choose("a.jpg", strength=1) == ModelChoice(("hfsr-x2-photo",), "--strength 1")
        assert choose("a.jpg", scale=6, strength=1).names == ("hfsr-x2-photo", "hfsr-x3")

    def test_values_between_are_a_network_of_their_own(self):
        found = choose("a.png", scale=3, strength=0.25)
        assert found.names == (Interpolated("hfsr-x4", "hfsr-x4-photo", 0.25),)
        assert found.name == "hfsr-x4 to hfsr-x4-photo at 0.25"

    def test_the_network_between_is_the_interpolated_one(self):
        IMAGE.save("a.png")
        assert cli.main(["upscale", "a.png", "--strength", "0.5", "--dtype", "fp32", "-o", "b.png"]) == 0
        models = [hfsr.from_pretrained(name) for name in ("hfsr-x2", "hfsr-x2-photo")]
        expected = hfsr.Upscaler(interpolate(*models, 0.5), dtype="fp32")(Path("a.png"))
        with Image.open("b.png") as found:
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))

    def test_what_is_not_allowed_is_one_line(self, bundled, capsys):
        with pytest.raises(OptionsError, match=r"strength 1\.5 is not between 0"):
            choose("a.png", strength=1.5)
        with pytest.raises(OptionsError, match="no photo model for x3 is bundled; leave --strength out"):
            choose("a.png", scale=3, strength=0.5)
        for words, reason in (
            (["upscale", "a.png", "--strength", "2"], "use 0 (clean) to 1 (photo)"),
            (["upscale", "a.png", "--strength", "1", "-m", "hfsr-x2"], "use one of them"),
            (["upscale", "a.png", "--strength", "1", "--for", "photo"], "use one of them"),
            (["restore", "a.png", "--strength", "1"], "--strength needs a scale"),
        ):
            assert cli.main(words) == 2
            assert reason in capsys.readouterr().err


def test_the_summary_line_and_json_say_which_model_and_why(capsys):
    IMAGE.save("a.png")
    IMAGE.save("b.jpg", quality=60)
    assert cli.main(["upscale", "a.png", "b.jpg", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["model"], one["model_reason"]) for one in told] == [
        ("hfsr-x2", "lossless PNG"),
        ("hfsr-x2-photo", "JPEG of quality 60"),
    ]
    assert cli.main(["upscale", "b.jpg"]) == 0
    assert "48x32 px by hfsr-x2-photo (JPEG of quality 60) in " in capsys.readouterr().out
    assert cli.main(["upscale", "b.jpg", "-m", "hfsr-x2", "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert (named["model"], named["model_reason"]) == ("hfsr-x2", None)
