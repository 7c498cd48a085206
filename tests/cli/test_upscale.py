"""`hfsr upscale`: which files are written, what is said, and that bad input is one line and exit code 1."""

from __future__ import annotations

import io
import json
import os
import sys
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


JSON_KEYS = [
    *("input", "output", "width", "height", "scale", "model", "model_reason", "tile", "dtype", "backend"),
    *("device", "seconds", "peak_memory_bytes", "notes", "error"),
]


def test_json_is_one_object_per_picture_and_nothing_else(model, photo, capsys):
    Path("broken.png").write_bytes(photo.read_bytes()[:200])
    command = ["upscale", "broken.png", "empty*", str(photo), "-m", model, "--json", "--tile", "16"]
    assert cli.main(command) == 1
    out, err = capsys.readouterr()
    broken, empty, fine = told = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [list(each) for each in told] == [JSON_KEYS] * 3
    assert "broken.png" in broken["error"]
    assert broken["width"] is None
    assert (empty["input"], empty["output"]) == ("empty*", None)
    assert "no pictures in 'empty*'" in empty["error"]
    assert (fine["width"], fine["height"], fine["scale"], fine["tile"]) == (80, 60, 2, 16)
    assert (fine["input"], fine["output"], fine["model"]) == (str(photo), "results/photo_x2.png", model)
    assert (fine["backend"], fine["device"], fine["notes"], fine["error"]) == ("torch", "cpu", [], None)
    assert fine["peak_memory_bytes"] > 10 << 20


def test_notes_are_told(model, capsys):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save("inks.jpg")
    note = "CMYK was converted to RGB by rule of thumb, as it has no colour profile"
    assert cli.main(["upscale", "inks.jpg", "-m", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]
    assert cli.main(["upscale", "inks.jpg", "-m", model]) == 0
    assert f"; {note}\n" in capsys.readouterr().out


def test_one_failure_stops_nothing_and_sets_the_exit_code(model, photo, capsys):
    for name in ("a.png", "c.png"):
        Image.open(photo).save(name)
    Path("b.png").write_text("no picture")
    Path("album").mkdir()
    assert cli.main(["upscale", "a.png", "b.png", "album", "c.png", "-m", model]) == 1
    out, err = capsys.readouterr()
    assert sorted(os.listdir("results")) == ["a_x2.png", "c_x2.png"]
    assert len(out.splitlines()) == 2
    assert [line.split(": ")[1][:14] for line in err.splitlines()] == [
        "'b.png' is no ",
        "no pictures in",
        "2 of 4 inputs ",
    ]


def test_skip_existing(model, photo, capsys):
    Path("results").mkdir()
    Path("results/photo_x2.png").write_bytes(b"mine")
    Image.open(photo).save("other.png")
    command = ["upscale", str(photo), "other.png", "-m", model, "--skip-existing"]
    assert cli.main(command) == 0
    assert Path("results/photo_x2.png").read_bytes() == b"mine"
    assert size("results/other_x2.png") == (80, 60)
    assert "results/photo_x2.png; the result is there already and was left alone" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["notes"] == ["the result is there already and was left alone"]


def test_an_older_result_is_replaced(model, photo):
    Path("out.png").write_bytes(b"old")
    assert cli.main(["upscale", str(photo), "-m", model, "-o", "out.png"]) == 0
    assert size("out.png") == (80, 60)


def test_globs_keep_the_folders_below_their_first_star(model, photo):
    for name in ("album/a/x.png", "album/b/x.png", "album/b/deep/y.png", "album/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(photo).save(name, "PNG")
    assert cli.main(["upscale", "album/**/*.png", "-m", model, "-o", "out"]) == 0
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == [
        "out/a/x_x2.png",
        "out/b/deep/y_x2.png",
        "out/b/x_x2.png",
    ]


def test_results_inside_the_folder_are_not_upscaled_again(model, photo):
    Image.open(photo).save("a.png")
    os.symlink(".", "again")
    for _ in range(2):
        assert cli.main(["upscale", ".", "-m", model]) == 0
    assert os.listdir("results") == ["a_x2.png"]


def test_an_input_named_twice_is_one(model, photo, capsys):
    assert cli.main(["upscale", str(photo), str(photo), "-m", model]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out.jpg", "out.jpg"),
        ("OUT.TIF", "OUT.TIF"),
        ("new/folder/out.webp", "new/folder/out.webp"),
        ("folder.v2", "folder.v2/photo_x2.png"),
        ("there.png", "there.png/photo_x2.png"),
    ],
)
def test_what_o_names(model, photo, output, expected):
    Path("there.png").mkdir()
    assert cli.main(["upscale", str(photo), "-m", model, "-o", output]) == 0
    assert size(expected) == (80, 60)


def test_self_ensemble_is_what_python_gives(model, photo):
    command = ["upscale", str(photo), "-m", model, "-o", "out.png", "--dtype", "fp32", "--self-ensemble"]
    assert cli.main(command) == 0
    network = hfsr.load_checkpoint(model)
    expected = Upscaler(network, dtype="fp32", self_ensemble=True)(photo)
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), np.asarray(expected))
    assert not np.array_equal(np.asarray(expected), np.asarray(Upscaler(network, dtype="fp32")(photo)))


def test_a_result_larger_than_pillow_s_limit_is_no_error(model, photo, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert cli.main(["upscale", str(photo), "-m", model]) == 0
    assert capsys.readouterr().err == ""


def test_a_terminal_sees_pieces_speed_and_the_time_left(model, photo, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main(["upscale", str(photo), "-m", model, "--tile", "8"]) == 0
    said = sys.stderr.getvalue()
    assert "photo.png: 100%" in said
    for shown in ("/20 pieces", " MP/s", " left"):
        assert shown in said
    assert said.endswith("\r")  # the bar is gone at the end


def test_dry_run_writes_nothing(model, photo, capsys):
    assert cli.main(["upscale", str(photo), "-m", model, "--dry-run"]) == 0
    assert "80x60 px" in capsys.readouterr().out
    assert not Path("results").exists()


def test_dry_run_tells_the_dtype_of_this_picture(model, capsys, monkeypatch):
    monkeypatch.setattr("hfsr.inference.precision.is_native_bf16", lambda _: True)
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40), np.uint16)
    Image.fromarray(deep).save("deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save("plain.png")
    for command in ([], ["--dry-run"]):
        assert cli.main(["upscale", "deep.png", "plain.png", "-m", model, "--json", *command]) == 0
        told = [json.loads(line)["dtype"] for line in capsys.readouterr().out.splitlines()]
        assert told == ["fp32", "bf16"]


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
