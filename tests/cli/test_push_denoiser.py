"""`hfsr push` and `evaluate` of models that keep sizes: what they undo is done to the images, and told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hfsr.checkpoints import write_model_folder
from hfsr.cli import main
from hfsr.model_zoo import create_model

OPTIONS = """
name: clean
scale: 1
datasets:
  train:
    type: PairedImageDataset
    dataroot_gt: [/home/alice/photos, datasets/more]
    degradation: {type: GaussianNoise, sigma: [0, 50]}  # from /home/alice/photos
  val:
    type: PairedImageDataset
    dataroot_gt: datasets/Set5/HR
    degradation: {type: GaussianNoise, sigma: 25}
    seed: 3
network_g: {type: EDSR, num_feat: 8, num_block: 2, upscale: 1}
path: {pretrain_network_g: "C:\\\\Users\\\\alice\\\\start.pth"}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    write_model_folder(create_model("edsr_tiny", upscale=1), tmp_path / "model", task="denoising")
    return "model"


@pytest.fixture
def gt(tmp_path: Path) -> str:
    (tmp_path / "Two" / "HR").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(noise.integers(0, 256, (32, 36, 3), np.uint8)).save(tmp_path / "Two" / "HR" / name)
    return "Two/HR"


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_denoiser_is_measured_at_the_strengths_told(
    model: str, gt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    push = ["push", model, "org/clean", "--dry-run", "--gt", gt]
    assert main(push) == 1
    error = capsys.readouterr().err
    assert error == "hfsr push: nothing tells at which strengths 'model' is measured; say --sigma 15 25 50\n"
    assert main([*push, "--sigma", "15", "25", "--seed", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("Two sigma 15, 2 images: PSNR-Y ")
    assert told[1].startswith("Two sigma 25, 2 images: PSNR-Y ")
    card = Path(model, "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| Two |")]
    assert [row.split(" | ")[1] for row in rows] == ["sigma 15", "sigma 25"]
    assert card.count("Measured by `hfsr evaluate`") == 1
    assert "noise: Gaussian, clamped and rounded to 8 bit; seed: 2" in card
    results = front_matter(card)["model-index"][0]["results"]
    assert [result["dataset"]["config"] for result in results] == ["sigma 15", "sigma 25"]
    assert [result["metrics"][0]["args"]["sigma"] for result in results] == [15, 25]
    assert main(["evaluate", "--from-card", model, "--gt", gt, "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)["sets"]
    assert [one["deviations"] for one in sets] == [[], []]
    for one in sets:
        assert one["here"]["psnr_rgb"] == pytest.approx(one["card"]["psnr_rgb"], abs=1e-3)
    assert main(push) == 0  # again, with the strengths of its card
    assert capsys.readouterr().out.splitlines()[:2] == told[:2]


def test_its_card_promises_no_enlargement(model: str, gt: str) -> None:
    assert main(["push", model, "org/clean", "--dry-run", "--gt", gt, "--sigma", "25"]) == 0
    card = Path(model, "README.md").read_text()
    assert "This EDSR removes noise from images." in card
    assert 'up("photo.png").save("photo_restored.png")' in card
    assert "In a shell: `hfsr restore photo.png -m org/clean`." in card
    assert "(B, 3, H, W) to (B, 3, H, W)" in card
    assert "| scale | 1, the size stays |" in card
    assert "- It keeps sizes." in card
    assert "baseline: the LQ picture" in card
    for word in ("enlarge", "| x1", "bicubic", "upscale photo"):
        assert word not in card
    assert front_matter(card)["tags"] == ["denoising", "edsr", "image-restoration"]


def test_its_example_shows_the_noise(model: str, gt: str) -> None:
    assert main(["push", model, "org/clean", "--dry-run", "--gt", gt, "--sigma", "25"]) == 0
    words = "with Gaussian noise of sigma 25 (clamped and rounded to 8 bit), this model, the original"
    assert f"From left to right, px by px: {words}." in Path(model, "README.md").read_text()
    with Image.open(Path(model, "example.webp")) as shown:
        before, _, original = (np.asarray(shown)[:, k * 44 : k * 44 + 36].astype(float) for k in range(3))
    assert np.array_equal(original, np.asarray(Image.open(Path(gt, "a.png"))))
    assert 15 < np.std(before - original) < 27  # clamping takes some of it


def test_without_images_the_sample_is_made_noisy(model: str) -> None:
    assert main(["push", model, "org/clean", "--dry-run"]) == 0
    card = Path(model, "README.md").read_text()
    assert "with Gaussian noise of sigma 25" in card
    assert "These weights have not been measured yet." in card


def test_a_run_is_measured_as_it_was_validated(
    tmp_path: Path, gt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "experiments" / "clean"
    (run / "models").mkdir(parents=True)
    (run / "clean.yml").write_text(OPTIONS)
    torch.save({"params": create_model("edsr_tiny", upscale=1).state_dict()}, run / "models/net_g_best.pth")
    assert main(["push", str(run), "org/clean", "--dry-run", "--gt", gt, "--no-example"]) == 0
    assert "Two sigma 25, 2 images" in capsys.readouterr().out
    folder = run / "hub"
    card = (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["task"] == "denoising"
    assert "It was trained to undo one degradation: Gaussian noise of sigma 0 to 50 (clamped" in card
    assert "; seed: 3;" in card
    assert "| option file | [clean.yml](recipe.yml) |" in card
    recipe = (folder / "recipe.yml").read_text()
    assert "alice" not in card + recipe
    assert yaml.safe_load(recipe)["datasets"]["train"]["dataroot_gt"] == ["photos", "datasets/more"]
    assert yaml.safe_load(recipe)["path"]["pretrain_network_g"] == "start.pth"


def test_given_images(model: str, gt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1)
    (tmp_path / "Two" / "LQ").mkdir()
    for name in ("a.png", "b.png"):
        pixels = np.asarray(Image.open(Path(gt, name))).astype(float) + noise.normal(0, 9, (32, 36, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "Two" / "LQ" / name)
    push = ["push", model, "org/clean", "--dry-run", "--gt", gt, "--lq", "Two/LQ"]
    assert main(push) == 0
    assert "Two pairs, 2 images" in capsys.readouterr().out
    card = Path(model, "README.md").read_text()
    assert "| Two | pairs | 2 |" in card
    assert "resize: LQ pictures as given" in card
    assert main([*push, "Two/LQ"]) == 1
    assert "--lq names 2 folders and --gt 1; give one for each" in capsys.readouterr().err


def test_what_nothing_tells_is_asked_for(tmp_path: Path, gt: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_model_folder(create_model("edsr_tiny", upscale=1), tmp_path / "model")
    for command in (["push", "model", "org/m", "--dry-run"], ["evaluate", "-m", "model"]):
        assert main([*command, "--gt", gt]) == 1
        error = capsys.readouterr().err
        assert "'model' is for restoration, for which no degradation is known" in error
        assert "--lq" in error
        assert error.count("\n") == 1
    assert main(["push", "model", "org/m", "--dry-run", "--gt", gt, "--quality", "10"]) == 0
    card = Path("model/README.md").read_text()
    assert "removes the artifacts of JPEG" in card
    assert "| Two | quality 10 | 2 |" in card
    assert json.loads(Path("model/config.json").read_text())["task"] == "jpeg-artifact-removal"


def test_a_task_in_the_spelling_of_the_first_version_is_known(gt: str, tmp_path: Path) -> None:
    earlier = "-".join(["jpeg", "arte" + "fact", "removal"])  # in two parts, so that no correction finds it
    write_model_folder(create_model("edsr_tiny", upscale=1), tmp_path / "old", task=earlier)
    assert earlier in Path("old/config.json").read_text()
    assert main(["evaluate", "-m", "old", "--gt", gt, "--json"]) == 0
    assert main(["push", "old", "org/m", "--dry-run", "--no-example", "--gt", gt, "--quality", "10"]) == 0
    assert "removes the artifacts of JPEG from images" in Path("old/README.md").read_text()


def test_evaluate_does_what_the_model_undoes(model: str, gt: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for words in ([], ["--task", "denoise"], ["--sigma", "25"]):
        assert main(["evaluate", "-m", model, "--gt", gt, *words, "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] == said[2]
    assert said[0]["protocol"]["sigma"] == 25


@pytest.mark.parametrize("unclipped", [False, True])
def test_a_range_and_unclipped_noise_have_words(
    model: str, gt: str, capsys: pytest.CaptureFixture[str], unclipped: bool
) -> None:
    how = ["--sigma", "25", "--unclipped"] if unclipped else []
    how = how or ["--degradation", "{type: GaussianNoise, sigma: [10, 20]}"]
    assert main(["push", model, "org/clean", "--dry-run", "--gt", gt, *how]) == 0
    setting = "sigma 25, unclipped" if unclipped else "sigma 10 to 20"
    assert f"Two {setting}, 2 images" in capsys.readouterr().out
    assert f"| Two | {setting} | 2 |" in Path(model, "README.md").read_text()
