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


def test_one_image_to_results(model, photo, capsys):
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


def test_one_image_to_a_named_file_is_what_python_gives(model, photo):
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


def test_every_suffix_of_a_format_counts_in_a_folder_and_the_rest_is_counted(model, photo, capsys):
    Path("album").mkdir()
    image = Image.open(photo).convert("RGB")
    for name in ("a.jfif", "b.jpe", "e.JPG"):
        image.save(f"album/{name}", "JPEG")
    image.save("album/c.png")
    image.save("album/d.mpo", "MPO")
    for name in ("notes.txt", "more.txt", "raw.heic", ".DS_Store"):
        Path("album", name).write_bytes(b"x")
    assert cli.main(["upscale", "album", "-m", model, "-o", "out"]) == 0
    assert sorted(os.listdir("out")) == ["a_x2.jfif", "b_x2.jpe", "c_x2.png", "d_x2.jpg", "e_x2.JPG"]
    with Image.open("out/a_x2.jfif") as result:
        assert result.format == "JPEG"
    err = capsys.readouterr().err
    skipped = "4 files were skipped, not being images that hfsr reads: .txt (2), .heic, no suffix"
    assert err == f"hfsr upscale: {skipped}\n"
    assert cli.main(["upscale", "album/*", "-m", model, "--skip-existing", "-o", "out", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 5
    assert ".txt (2), .heic" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_an_error(model, photo, capsys):
    Path("album/closed").mkdir(parents=True)
    Image.open(photo).save("album/a.png")
    os.chmod("album/closed", 0)
    try:
        assert cli.main(["upscale", "album", "-m", model, "-o", "out"]) == 1
    finally:
        os.chmod("album/closed", 0o700)
    assert os.listdir("out") == ["a_x2.png"]
    assert "the folder 'album/closed' cannot be listed (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["o.jxl", "o.heic", "o.gif", "o.PSD"])
def test_a_format_that_is_not_written_is_no_folder(model, photo, capsys, name):
    assert cli.main(["upscale", str(photo), "-m", model, "-o", name]) == 2
    assert f"does not write {Path(name).suffix.lower()}; use .png, .jpg" in capsys.readouterr().err
    assert not Path(name).exists()


JSON_KEYS = [
    *("input", "output", "width", "height", "scale", "model", "model_reason", "tile", "dtype", "backend"),
    *("device", "seconds", "peak_memory_bytes", "notes", "error"),
]


def test_json_is_one_object_per_image_and_nothing_else(model, photo, capsys):
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
    assert "no images in 'empty*'" in empty["error"]
    assert (fine["width"], fine["height"], fine["scale"], fine["tile"]) == (80, 60, 2, 16)
    assert (fine["input"], fine["output"], fine["model"]) == (str(photo), "results/photo_x2.png", model)
    assert (fine["backend"], fine["device"], fine["notes"], fine["error"]) == ("torch", "cpu", [], None)
    assert fine["peak_memory_bytes"] > 10 << 20


def test_notes_are_told(model, capsys):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save("inks.jpg")
    note = "CMYK was converted to RGB by rule of thumb, as it has no color profile"
    assert cli.main(["upscale", "inks.jpg", "-m", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]
    assert cli.main(["upscale", "inks.jpg", "-m", model]) == 0
    assert f"; {note}\n" in capsys.readouterr().out


def test_one_failure_stops_nothing_and_sets_the_exit_code(model, photo, capsys):
    for name in ("a.png", "c.png"):
        Image.open(photo).save(name)
    Path("b.png").write_text("no image")
    Path("album").mkdir()
    assert cli.main(["upscale", "a.png", "b.png", "album", "c.png", "-m", model]) == 1
    out, err = capsys.readouterr()
    assert sorted(os.listdir("results")) == ["a_x2.png", "c_x2.png"]
    assert len(out.splitlines()) == 2
    assert [line.split(": ")[1][:14] for line in err.splitlines()] == [
        "'b.png' is no ",
        "no images in '",
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


def test_dry_run_tells_the_dtype_of_this_image(model, capsys, monkeypatch):
    monkeypatch.setattr("hfsr.inference.runtime.precision.is_native_bf16", lambda _: True)
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40), np.uint16)
    Image.fromarray(deep).save("deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save("plain.png")
    for command in ([], ["--dry-run"]):
        assert cli.main(["upscale", "deep.png", "plain.png", "-m", model, "--json", *command]) == 0
        told = [json.loads(line)["dtype"] for line in capsys.readouterr().out.splitlines()]
        assert told == ["fp32", "bf16"]


def test_the_sample_is_a_image_whose_double_is_2k():
    width, height = size(SAMPLE)
    assert 2 * width >= 2048
    assert 2 * height >= 1080


def test_two_results_of_one_name_stop_nothing_else(model, photo, capsys):
    Path("clash").mkdir()
    image = Image.open(photo).convert("RGB")
    for name in ("a.png", "a.jpg", "c.png"):
        image.save(f"clash/{name}")
    assert cli.main(["upscale", "clash", "-m", model, "--ext", "webp", "-o", "out"]) == 1
    assert sorted(os.listdir("out")) == ["a_x2.webp", "c_x2.webp"]
    first, last = capsys.readouterr().err.splitlines()
    assert "'clash/a.jpg' and 'clash/a.png' would both become 'out/a_x2.webp'" in first
    assert last == "hfsr upscale: 1 of 3 inputs failed"
    assert (
        cli.main(["upscale", "clash/a.png", "clash/a.jpg", "-m", model, "--ext", "tif", "-o", "named"]) == 1
    )
    assert os.listdir("named") == ["a_x2.tif"]


def test_a_damaged_image_of_any_format_stops_no_folder(model, photo, capsys):
    Path("album").mkdir()
    image = Image.open(photo).convert("RGB")
    for name in ("a.png", "z.png"):
        image.save(f"album/{name}")
    buffer = io.BytesIO()
    image.resize((96, 64)).save(buffer, "AVIF")
    data = buffer.getvalue()
    at = data.index(b"mdat") + 4
    Path("album/b.avif").write_bytes(data[:at] + bytes(len(data) - at))
    assert cli.main(["upscale", "album", "-m", model, "-o", "out"]) == 1
    assert sorted(os.listdir("out")) == ["a_x2.png", "z_x2.png"]
    assert "'album/b.avif' is " in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["/x", "a/b", "x" * 300])
def test_a_suffix_that_no_name_can_have(model, photo, suffix, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["upscale", str(photo), "-m", model, "--suffix", suffix])
    assert error.value.code == 2
    err = capsys.readouterr().err
    assert "argument --suffix" in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == []


@pytest.mark.parametrize("scale", ["1.5", "5"])
def test_a_scale_without_a_bundled_model(photo, scale, capsys):
    assert cli.main(["upscale", str(photo), "-s", scale]) == 2
    err = capsys.readouterr().err
    assert f"-s {scale}: hfsr comes with models of the scales 2, 3 and 4; name another by -m" in err


def test_notes_of_the_target_are_told(model, photo, capsys):
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40), np.uint16)
    Image.fromarray(deep).save("deep.png")
    assert cli.main(["upscale", "deep.png", "-m", model, "-o", "o.jpg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["16 bit was rounded to 8, all that JPEG holds"]


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
