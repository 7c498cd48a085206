"""`hfsr upscale`: which files are written, what is said, and that bad input is one line and exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr import cli
from hfsr.checkpoints import write_model_folder
from hfsr.inference import Upscaler
from hfsr.samples import SAMPLE


@pytest.fixture
def model(tmp_path) -> str:
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def size(path: Path | str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_one_picture_to_results(model, photo, capsys):
    assert cli.main(["upscale", str(photo), "-m", model]) == 0
    assert size("results/photo_x2.png") == (80, 60)
    assert "80x60 px" in capsys.readouterr().out


def test_a_real_scale(photo, tmp_path, capsys):
    write_model_folder(hfsr.create_model("metardn_tiny"), tmp_path / "meta")
    for extra in (["--dry-run"], []):
        command = ["upscale", str(photo), "-m", str(tmp_path / "meta"), "-s", "1.7", "--json", *extra]
        assert cli.main(command) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["width"], told["height"], told["scale"]) == (68, 51, 1.7)
    assert size("results/photo_x1.7.png") == (68, 51)


def test_one_picture_to_a_named_file_is_what_python_gives(model, photo):
    assert cli.main(["upscale", str(photo), "-m", model, "-o", "out.png", "--dtype", "fp32"]) == 0
    expected = Upscaler(hfsr.load_checkpoint(model + "/model.safetensors"), dtype="fp32")(photo)
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), np.asarray(expected))


def test_a_folder_keeps_its_structure(model, photo):
    album = Path("album/2026")
    album.mkdir(parents=True)
    for name in ("a.jpg", "b.webp", "notes.txt", ".hidden.png"):
        Image.open(photo).save(album / name, "PNG")
    assert cli.main(["upscale", "album", "-m", model, "-o", "out", "--suffix", "", "--ext", "png"]) == 0
    assert sorted(str(p) for p in Path("out").rglob("*.*")) == ["out/2026/a.png", "out/2026/b.png"]


def test_globs(model, photo):
    for name in ("a1.png", "a2.png", "b.png"):
        Image.open(photo).save(name)
    assert cli.main(["upscale", "a*.png", "-m", model]) == 0
    assert sorted(p.name for p in Path("results").iterdir()) == ["a1_x2.png", "a2_x2.png"]


def test_json_is_one_object_per_picture_and_nothing_else(model, photo, capsys):
    Path("broken.png").write_bytes(photo.read_bytes()[:200])
    assert cli.main(["upscale", "broken.png", str(photo), "-m", model, "--json", "--tile", "16"]) == 1
    out, err = capsys.readouterr()
    broken, fine = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert "broken.png" in broken["error"]
    assert (fine["width"], fine["height"], fine["scale"], fine["tile"]) == (80, 60, 2, 16)
    assert fine["peak_memory_bytes"] > 10 << 20
    assert {"input", "output", "model", "dtype", "backend", "device", "seconds"} <= set(fine)


def test_skip_existing(model, photo, capsys):
    Path("results").mkdir()
    Path("results/photo_x2.png").write_bytes(b"mine")
    assert cli.main(["upscale", str(photo), "-m", model, "--skip-existing"]) == 0
    assert Path("results/photo_x2.png").read_bytes() == b"mine"
    assert "left alone" in capsys.readouterr().out


def test_dry_run_writes_nothing(model, photo, capsys):
    assert cli.main(["upscale", str(photo), "-m", model, "--dry-run"]) == 0
    assert "80x60 px" in capsys.readouterr().out
    assert not Path("results").exists()


def test_the_sample_is_a_picture_whose_double_is_2k():
    width, height = size(SAMPLE)
    assert 2 * width >= 2048
    assert 2 * height >= 1080


def test_two_results_of_one_name_are_refused_before_the_work(model, photo, capsys):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.open(photo).save(f"{folder}/same.png")
    assert cli.main(["upscale", "a/same.png", "b/same.png", "-m", model]) == 1
    assert "would both become" in capsys.readouterr().err
    assert not Path("results").exists()


def test_unknown_command_and_no_command(capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["upscael"])
    assert error.value.code == 2
    assert cli.main([]) == 2


def test_doctor(model, capsys):
    assert cli.main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out
    assert cli.main(["doctor", model, "--size", "40", "--tile", "16"]) == 0
    assert "local, radius 8 px" in capsys.readouterr().out
