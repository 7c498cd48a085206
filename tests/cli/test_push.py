"""`hfsr push` without a Hub; with one it is tested in tests/hub."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hfsr.checkpoints import write_model_folder
from hfsr.cli import main
from hfsr.hub.upload import UploadResult
from hfsr.model_zoo import create_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    write_model_folder(create_model("edsr_tiny"), tmp_path / "model")
    return tmp_path / "model"


def test_a_dry_run_measures_and_writes_and_uploads_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "Set2" / "HR"
    images.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(noise.integers(0, 256, (32, 36, 3), dtype=np.uint8)).save(images / name)
    argv = ["push", str(model), "org/model", "--dry-run", "--gt", str(images), "--license", "mit"]
    assert main(argv) == 0
    card = (model / "README.md").read_text()
    assert (
        "](example.webp)\n\nFrom left to right, px by px: enlarged 2 times by bicubic, this model, the"
        in card
    )
    with Image.open(model / "example.webp") as shown:
        assert shown.size == (3 * 36 + 2 * 8, 32)
        assert np.array_equal(np.asarray(shown)[:, -36:], np.asarray(Image.open(images / "a.png")))
    captured = capsys.readouterr()
    measured, written, last = captured.out.splitlines()
    assert measured.startswith("Set2 x2, 2 images: PSNR-Y ")
    assert written.startswith(f"{model}: ")
    assert last == "nothing was uploaded; without --dry-run, this folder goes to org/model"
    data = yaml.safe_load((model / "README.md").read_text().split("---\n")[1])
    result = data["model-index"][0]["results"][0]
    assert (data["license"], result["dataset"]["name"]) == ("mit", "Set2")
    psnr = next(metric for metric in result["metrics"] if metric["name"] == "PSNR (Y)")
    assert f"{psnr['value']:.2f} dB" in measured
    assert psnr["args"]["crop"] == 2
    assert psnr["args"]["dtype"] == "fp32"


def test_a_push_without_a_token_stops_before_any_work(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfsr.hub.client.get_token", lambda: None)
    assert main(["push", str(model), "org/model", "--gt", "no/such/folder"]) == 1
    assert "needs a token" in capsys.readouterr().err
    assert not (model / "README.md").exists()


@pytest.mark.parametrize("repo_id", ["model", "a/b/c", "/model", "org/", "org name/x"])
def test_ids_that_are_none(model: Path, capsys: pytest.CaptureFixture[str], repo_id: str) -> None:
    assert main(["push", str(model), repo_id, "--dry-run"]) == 1
    assert "owner/name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "repo_id", ["org/x-", "org/x.", "org-/x", "org/a..b", "org/a--b", "org/x.git", f"org/{'x' * 120}"]
)
def test_ids_that_the_hub_does_not_allow(
    model: Path, capsys: pytest.CaptureFixture[str], repo_id: str
) -> None:
    assert main(["push", str(model), repo_id, "--dry-run", "--gt", "no/such/folder"]) == 1
    captured = capsys.readouterr()
    assert f"'{repo_id}' is not allowed as an id on the Hub" in captured.err
    assert captured.err.count("\n") == 1
    assert not (model / "README.md").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_folders_whose_names_are_not_utf8(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / os.fsdecode(b"Fotos_\xfc")
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(images / "a.png")
    argv = ["push", str(model), "org/model", "--dry-run", "--no-example", "--gt", str(images)]
    assert main(argv) == 0
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "| Fotos_\ufffd | x2 |" in card
    capsys.readouterr()
    assert main(["evaluate", "--from-card", str(model), "--gt", str(images)]) == 0


def test_nothing_to_push(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(tmp_path / "nothing"), "org/model", "--dry-run"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "there is nothing at" in captured.err


def test_an_example_stays_with_its_card(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["push", str(model), "org/model", "--dry-run"]
    assert main(argv) == 0
    first = (model / "README.md").read_bytes(), (model / "example.webp").read_bytes()
    with Image.open(model / "example.webp") as shown:
        assert shown.size == (2 * 256 + 8, 256)  # of the sample, which has no original
    assert main(argv) == 0
    assert ((model / "README.md").read_bytes(), (model / "example.webp").read_bytes()) == first


@pytest.mark.parametrize("letter", ["s", "c"])
def test_both_spellings_of_the_license_are_options(model: Path, letter: str) -> None:
    push = ["push", str(model), "org/model", "--dry-run", "--no-example", f"--licen{letter}e", "mit"]
    assert main(push) == 0
    assert "license: mit" in (model / "README.md").read_text()
    convert = ["convert", str(model / "model.safetensors"), str(model / "out"), f"--licen{letter}e", "mit"]
    assert main(convert) == 0


def test_converted_weights_need_a_license_to_go_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hfsr.hub.client.get_token", lambda: "hf_token")
    monkeypatch.setattr(
        "hfsr.publishing.push.upload_model_folder", lambda *_, **__: UploadResult("there", ())
    )
    monkeypatch.chdir(tmp_path)
    push = ["push", "converted", "org/model", "--no-example"]
    weights = str(model / "model.safetensors")
    for license, told in ((None, "no license"), ("CC-BY-NC-4.0", "'cc-by-nc-4.0'"), ("S-Lab", "'S-Lab'")):
        assert main(["convert", weights, "converted", *(["--license", license] if license else [])]) == 0
        capsys.readouterr()
        assert main(push) == 1
        error = capsys.readouterr().err
        assert told in error
        assert "--i-may-publish" in error
        assert main([*push, "--i-may-publish"]) == 0
    assert main(["convert", weights, "converted", "--license", "mit"]) == 0
    assert main(push) == 0
    assert main(["push", weights, "org/model", "--no-example"]) == 1
    assert main(["push", weights, "org/model", "--no-example", "--license", "apache-2.0"]) == 0
