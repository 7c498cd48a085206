"""Fine-tuning on a folder of photos: the split, the option file that fits, the gain on held-out photos."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hfsr import create_model, training
from hfsr.checkpoints import write_model_folder
from hfsr.cli import main as hfsr
from hfsr.degradations import build_chain
from hfsr.errors import DataError, HfsrError
from hfsr.samples.draw import draw
from hfsr.training.finetuning.photos import open_photos, split_photos
from hfsr.training.finetuning.plan import FinetuneSettings, plan_finetuning, write_plan
from hfsr.training.setup import build_dataset, files_of

from .conftest import write_images


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_model_folder(create_model("EDSR", num_feat=4, num_block=1, upscale=2), tmp_path / "small")
    write_images(tmp_path / "photos", count=7, size=(40, 36))


def planned(tmp_path, **changes):
    settings = {"model": "small", "photos": "photos", **changes}
    return plan_finetuning(FinetuneSettings(**settings), tmp_path / "lists")


def test_it_trains_measures_held_out_photos_and_writes_a_card(tmp_path, capsys):
    assert (
        hfsr(
            ["finetune", "small", "photos", "-o", "mine", "--iter", "30", "--lr", "5e-3", "--license", "mit"]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "option file: finetune/mine.yml\n6 photos to train on, 1 held out; 30 iterations" in told
    assert "1 HELD-OUT PHOTOS" in told
    assert "before: small " in told
    assert "after: experiments/mine " in told
    assert "better on 1 of 1 held-out photos" in told
    options = training.load_options("finetune/mine.yml")
    names = {
        key: {file.gt for file in files_of(build_dataset(options, key), key)} for key in options.datasets
    }
    assert len(names["train"]) == 6
    assert len(names["val"]) == 1
    assert not names["train"] & names["val"]
    assert hfsr(["push", "experiments/mine", "me/mine", "--dry-run", "--no-example"]) == 0
    card = (tmp_path / "experiments" / "mine" / "hub" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "mit"
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "held_out"
    assert "`small`" in card
    # The same command again is the same run: nothing is left to do, and the comparison is repeated.
    told = told.split("\n\n")[1]
    again = ["--iter", "30", "--lr", "5e-3", "--license", "mit", "--auto_resume"]
    assert hfsr(["finetune", "small", "photos", "-o", "mine", *again]) == 0
    assert told in capsys.readouterr().out
    assert hfsr(["finetune", "small", "photos", "-o", "mine", "--iter", "29"]) == 1
    assert "'finetune/mine.yml' exists with another content" in capsys.readouterr().err


def test_it_says_when_nothing_was_gained(capsys):
    assert hfsr(["finetune", "small", "photos", "--iter", "2", "--lr", "1e-12"]) == 0
    assert "nothing was gained on the held-out photos" in capsys.readouterr().out


def test_check_prints_the_option_file_and_leaves_nothing(tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert hfsr(["finetune", "small", "photos", "--check", "--force_yml", "train:total_iter=17"]) == 0
    told = capsys.readouterr().out
    assert "pretrain_network_g: small" in told
    assert "6 training and 1 validation images" in told
    assert "h for 17" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_are_held_out_evenly_and_copies_with_them(tmp_path):
    write_images(tmp_path / "many", count=20, size=(40, 36))
    split = split_photos(open_photos("many"))
    assert len(split.train) == 17
    places = [sorted([*split.train, *split.held_out]).index(name) for name in split.held_out]
    assert np.diff(places).min() >= 5
    (tmp_path / "many" / "sub").mkdir()
    shutil.copy(tmp_path / "many" / split.held_out[0], tmp_path / "many" / "sub" / "copy.png")
    again = split_photos(open_photos("many"))
    if split.held_out[0] in again.held_out:
        assert "sub/copy.png" not in again.train
        assert again.left_out == 1
    content = {(tmp_path / "many" / name).read_bytes() for name in again.train}
    assert not content & {(tmp_path / "many" / name).read_bytes() for name in again.held_out}


def test_photos_of_the_validation_folder_are_not_trained_on(tmp_path):
    (tmp_path / "photos" / "best").mkdir()
    shutil.move(tmp_path / "photos" / "3.png", tmp_path / "photos" / "best" / "3.png")
    shutil.copy(tmp_path / "photos" / "4.png", tmp_path / "photos" / "best" / "four.png")
    split = split_photos(open_photos("photos"), open_photos("photos/best"))
    assert split.held_out == ("3.png", "four.png")
    assert split.train == ("0.png", "1.png", "2.png", "5.png", "6.png")
    with pytest.raises(DataError, match="every photo of 'photos' is in 'photos' too"):
        split_photos(open_photos("photos"), open_photos("photos"))


def test_subfolders_of_pairs_are_found(tmp_path):
    shutil.move(tmp_path / "photos", tmp_path / "HR")
    (tmp_path / "photos").mkdir()
    shutil.move(tmp_path / "HR", tmp_path / "photos" / "HR")
    write_images(tmp_path / "photos" / "LR", count=7, size=(20, 18))
    data = planned(tmp_path).options["datasets"]
    assert data["train"]["dataroot_gt"] == data["val"]["dataroot_gt"] == "photos/HR"
    assert data["train"]["dataroot_lq"] == data["val"]["dataroot_lq"] == "photos/LR"
    assert planned(tmp_path).lq_source == "as given"
    with pytest.raises(DataError, match="put them into 'photos/HR/lq'"):
        planned(tmp_path, validation="photos/HR")


def test_values_fit_the_model_and_the_photos(tmp_path):
    write_images(tmp_path / "large", count=60, size=(200, 160))
    plan = planned(tmp_path, photos="large")
    assert plan.options["train"]["total_iter"] == 10000
    assert plan.options["datasets"]["train"]["gt_size"] == 96
    assert len(plan.split.held_out) == 9
    plan = planned(tmp_path)
    assert plan.options["train"]["total_iter"] == plan.options["train"]["scheduler"]["T_max"] == 1200
    assert plan.options["datasets"]["train"]["gt_size"] == 36
    assert plan.options["network_g"]["num_feat"] == 4
    assert plan.name == "small_photos"


@pytest.mark.parametrize(
    ("model", "train", "validation"),
    [
        ("hfsr-x2", None, None),
        ("hfsr-denoise", {"type": "GaussianNoise", "sigma": [0, 50]}, {"type": "GaussianNoise", "sigma": 25}),
        ("hfsr-x2-photo", "RandomChoice", "Bicubic"),
    ],
)
def test_the_degradation_is_that_of_the_model(tmp_path, model, train, validation):
    write_images(tmp_path / "large", count=3, size=(80, 80))
    data = planned(tmp_path, model=model, photos="large").options["datasets"]
    found = [data["train"].get("degradation"), data["val"].get("degradation")]
    expected = [train, validation]
    assert [f[0]["type"] if isinstance(f, list) else f for f in found] == expected


def test_a_stated_degradation_is_used(tmp_path):
    steps = "[{type: GaussianBlur, kernel_size: 5, sigma: 1.0}, {type: Bicubic}]"
    data = planned(tmp_path, degradation=steps).options["datasets"]
    assert data["train"]["degradation"] == data["val"]["degradation"] == yaml.safe_load(steps)


def test_gray_networks_learn_from_luma(tmp_path):
    gray = create_model("EDSR", num_feat=4, num_block=1, upscale=2, num_in_ch=1, num_out_ch=1, rgb_mean=[0.5])
    write_model_folder(gray, tmp_path / "gray")
    data = planned(tmp_path, model="gray").options["datasets"]
    assert data["train"]["color"] == data["val"]["color"] == "y"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"photos": "absent"}, "there is no folder 'absent'; name a folder of photos"),
        ({"photos": "small"}, "'small' holds no photos"),
        ({"lq": "absent"}, "there is no folder 'absent'"),
        ({"lq": "photos", "degradation": "{type: Bicubic}"}, "leave one of them out"),
        ({"degradation": "[{"}, "--degradation is not YAML"),
        ({"iterations": 0}, "--iter 0 is not allowed"),
        ({"rate": 3.0}, "--lr 3 is not allowed"),
        ({"model": "restorer"}, "nothing states which degradation it undoes"),
        (
            {"photos": "tiny"},
            "the photos are too small: LQ patches need 16 px on each side, and these have 10",
        ),
        ({"photos": "one"}, "'one' holds 1 photo\\(s\\), too few"),
        ({"model": "experiments/x", "name": "x"}, "'x' is the run that the model comes from"),
        ({"name": "../esc"}, "'../esc' is not allowed as the name of a run"),
        ({"name": "a/b"}, "'a/b' is not allowed"),
        ({"name": "."}, "'.' is not allowed"),
        ({"name": "a\\nb"}, "is not allowed as the name"),
    ],
)
def test_refusals(tmp_path, changes, told):
    write_images(tmp_path / "tiny", count=3, size=(20, 20))
    write_images(tmp_path / "one", count=1, size=(40, 40))
    write_model_folder(create_model("EDSR", num_feat=4, num_block=1, upscale=1), tmp_path / "restorer")
    shutil.copytree(tmp_path / "small", tmp_path / "experiments" / "x")
    with pytest.raises(HfsrError, match=told):
        planned(tmp_path, **changes)


def test_a_name_that_is_refused_leaves_no_files(tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    for name in ("../esc", ".", "a/b"):
        assert hfsr(["finetune", "small", "photos", "-o", name, "--iter", "1"]) == 1
        assert "example -o my_photos" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_whose_names_have_spaces_around_them(tmp_path):
    for path in sorted((tmp_path / "photos").iterdir()):
        path.rename(path.with_name(f" {path.name}"))
    path = write_plan(planned(tmp_path), tmp_path / "lists")
    options = training.load_options(path)
    assert len(files_of(build_dataset(options, "train"), "train")) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_names_that_are_not_utf8(tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"Fotos_\xfc")
    (tmp_path / "photos").rename(folder)
    assert hfsr(["finetune", "small", str(folder), "--iter", "1", "--check"]) == 0
    capsys.readouterr()
    path = sorted(folder.iterdir())[0]
    path.rename(path.with_name(os.fsdecode(b"a\xfc.png")))
    assert hfsr(["finetune", "small", str(folder), "--iter", "1"]) == 1
    assert "'a\\udcfc.png' has a line break or bytes that are not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "finetune").exists()


@pytest.mark.slow
def test_a_bundled_model_adapts_to_another_blur_kernel(tmp_path):
    scene, rng = draw(), np.random.default_rng(0)
    chain = build_chain([{"type": "GaussianBlur", "kernel_size": 13, "sigma": 2.0}, {"type": "Bicubic"}], 2)
    for folder in ("gt", "lq"):
        (tmp_path / "blurred" / folder).mkdir(parents=True)
    for number in range(20):  # from the lower half: pines, pylons and water, not the smooth sky
        left, top = number % 10 * 104, 300 + number // 10 * 144
        crop = scene.crop((left, top, left + 104, top + 144))
        crop.save(tmp_path / "blurred" / "gt" / f"{number:02}.png")
        lq = Image.fromarray(chain(np.asarray(crop), rng))
        lq.save(tmp_path / "blurred" / "lq" / f"{number:02}.png")
    settings = FinetuneSettings(model="hfsr-x2", photos="blurred", iterations=40, rate=3e-4)
    small = ["datasets:train:gt_size=48", "datasets:train:batch_size_per_gpu=4", "val:val_freq=20"]
    result = training.finetune(settings, overrides=small)
    assert result.before.images == 3
    assert result.gain >= 0.5, result
