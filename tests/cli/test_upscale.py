"""`hfsr upscale`: which files are written, what is said, and that bad input is one line and exit code 1."""

from __future__ import annotations

import io
import json
import os
import subprocess
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
    for name in ("notes.txt", "more.txt", "raw.nef", ".DS_Store"):
        Path("album", name).write_bytes(b"x")
    assert cli.main(["upscale", "album", "-m", model, "-o", "out"]) == 0
    assert sorted(os.listdir("out")) == ["a_x2.jfif", "b_x2.jpe", "c_x2.png", "d_x2.jpg", "e_x2.JPG"]
    with Image.open("out/a_x2.jfif") as result:
        assert result.format == "JPEG"
    err = capsys.readouterr().err
    skipped = "4 files were skipped, because hfsr does not read them: .txt (2), .nef, no suffix"
    assert err == f"hfsr upscale: {skipped}\n"
    assert cli.main(["upscale", "album/*", "-m", model, "--skip-existing", "-o", "out", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 5
    assert ".txt (2), .nef" in err


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
    *("input", "output", "width", "height", "scale", "reduced_from", "model", "model_reason", "tile"),
    *("dtype", "backend", "backend_reason", "device", "seconds", "peak_memory_bytes", "notes", "error"),
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


def test_auto_explains_its_backend(model, photo, capsys):
    command = ["upscale", str(photo), "-m", model, "--json"]
    assert cli.main([*command, "--backend", "auto"]) == 0
    assert cli.main(command) == 0
    auto, torch_alone = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    reason = "the image is small: compiling the network would take longer than it saves"
    assert (auto["backend"], auto["backend_reason"]) == ("torch", reason)
    assert (torch_alone["backend"], torch_alone["backend_reason"]) == ("torch", None)
    for more in ([], ["--dry-run"]):
        assert cli.main([*command[:-1], "--backend", "auto", *more]) == 0
        assert f", torch: {reason}" in capsys.readouterr().out


def test_notes_are_told(model, capsys):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save("inks.jpg")
    note = "CMYK was converted to RGB approximately, because it has no color profile"
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
        "'b.png' is not",
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
    assert "results/photo_x2.png; the result exists already and was not replaced" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["notes"] == ["the result exists already and was not replaced"]


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


def test_results_of_one_name_get_distinct_names(model, photo, capsys):
    Path("clash").mkdir()
    image = Image.open(photo).convert("RGB")
    for name in ("a.png", "a.jpg", "a_png.png", "c.png", "A.bmp"):
        image.save(f"clash/{name}")
    Path("more").mkdir()
    image.save("more/a.png")
    command = ["upscale", "clash", "more", "-m", model, "--ext", "webp", "-o", "out"]
    assert cli.main(command) == 0
    expected = ["A_bmp_x2.webp", "a_jpg_x2.webp", "a_png_x2.webp", "a_png_x2_2.webp", "a_png_x2_3.webp"]
    assert sorted(os.listdir("out")) == [*expected, "c_x2.webp"]
    assert cli.main(["upscale", "clash/a.png", "more/a.png", "clash/a.png", "-m", model, "-o", "same"]) == 0
    assert sorted(os.listdir("same")) == ["a_png_x2.png", "a_png_x2_2.png"]
    assert capsys.readouterr().err == ""


def test_a_folder_that_is_not_searched_is_counted(model, photo, capsys):
    for name in ("album/a.png", "album/.cache/b.png", "album/out/c.png", "elsewhere/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(photo).save(name)
    Path("album/link").symlink_to("../elsewhere", target_is_directory=True)
    assert cli.main(["upscale", "album", "-m", model, "-o", "album/out"]) == 0
    err = capsys.readouterr().err
    assert "3 folders were not searched (hidden, linked" in err
    assert "'album/.cache', 'album/link', 'album/out'" in err
    assert cli.main(["upscale", "album/*", "-m", model, "-o", "flat"]) == 0
    assert "2 folders were not searched" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "is_folder"), [("o.pgn", False), ("run.v1", True), ("results.2026", True)]
)
def test_an_unknown_suffix_of_a_result_is_an_error(model, photo, capsys, output, is_folder):
    assert cli.main(["upscale", str(photo), "-m", model, "-o", output]) == (0 if is_folder else 2)
    assert Path(output).is_dir() == is_folder
    if not is_folder:
        assert "hfsr does not write .pgn; use .png" in capsys.readouterr().err
        Path(output).mkdir()
        assert cli.main(["upscale", str(photo), "-m", model, "-o", output]) == 0


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


SIZES = {
    "-s 1.5": ((60, 45), "photo_x1.5.png", 1.5),
    "-s 1": ((40, 30), "photo_restored.png", 1),
    "-s 2": ((80, 60), "photo_x2.png", 2),
    "--width 61": ((61, 46), "photo_w61.png", 1.525),
    "--height 31": ((41, 31), "photo_h31.png", 1.025),
    "--width 70 --height 60": ((70, 60), "photo_70x60.png", 1.75),
    "--max-side 77": ((77, 58), "photo_max77.png", 1.925),
}


@pytest.mark.parametrize("words", SIZES)
def test_any_size_up_to_the_scale_of_a_model(model, photo, words, capsys):
    expected, name, scale = SIZES[words]
    assert cli.main(["upscale", str(photo), "-m", model, "--json", *words.split()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert size(f"results/{name}") == expected == (told["width"], told["height"])
    assert told["scale"] == scale
    assert told["reduced_from"] == (None if expected == (80, 60) else [80, 60])
    assert cli.main(["upscale", str(photo), "-m", model, "--dry-run", "--json", *words.split()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["width"], told["height"]) == expected


def test_the_summary_tells_the_reduction_and_other_proportions(model, photo, capsys):
    assert cli.main(["upscale", str(photo), "-m", model, "--width", "70", "--height", "60"]) == 0
    out = capsys.readouterr().out
    assert ", reduced from 80x60 px in " in out
    assert "its proportions changed: it is 12.5 % narrower" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("-s 2.5", 1, "enlarges by 2, not by 2.5; use 1 to 2, or another model"),
        ("--width 81", 1, "81x61 px are more than the 80x60 px that x2 makes of 40x30 px"),
        ("--width 39", 1, "39x29 px are less than the 40x30 px of the image"),
        ("--width 0", 2, "'0' is not allowed"),
        ("-s 17", 2, "scale 17.0 is not allowed; use a number from 1 to 16"),
        ("-s 0.5", 2, "scale 0.5 is not allowed; use a number from 1 to 16"),
        ("-s 2 --max-side 9", 2, "not allowed with argument"),
        ("-s 2 --width 9", 2, "exclude each other; give one"),
    ],
)
def test_sizes_that_are_refused(model, photo, words, code, message, capsys):
    try:
        found = cli.main(["upscale", str(photo), "-m", model, *words.split()])
    except SystemExit as stop:
        found = stop.code
    assert found == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == []


def test_a_size_far_beyond_an_image_is_refused(photo, capsys):
    assert cli.main(["upscale", str(photo), "--width", "700"]) == 1
    assert "700x525 px are x17.5 of 40x30 px; x16 is the limit" in capsys.readouterr().err


def test_bundled_models_reach_any_scale(capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    for words, expected, models in (
        (["-s", "1.5"], (12, 9), "hfsr-x2"),
        (["-s", "2.5"], (20, 15), "hfsr-x3"),
        (["--width", "37"], (37, 28), "hfsr-x2 + hfsr-x3"),
    ):
        assert cli.main(["upscale", "a.png", *words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["width"], told["height"], told["model"]) == (*expected, models)
        assert size(told["output"]) == expected


def test_standard_input_and_output(model, photo):
    command = [sys.executable, "-m", "hfsr", "upscale", "-", "-m", model]
    data = photo.read_bytes()
    done = subprocess.run([*command, "-o", "-"], input=data, capture_output=True, check=True)
    with Image.open(io.BytesIO(done.stdout)) as result:
        assert (result.format, result.size) == ("PNG", (80, 60))
    assert b"-: 80x60 px by " in done.stderr
    assert os.listdir() == []
    broken = subprocess.run([*command, "-o", "-"], input=b"text", capture_output=True, check=False)
    assert (broken.returncode, broken.stdout) == (1, b"")
    assert b"hfsr upscale: '<stdin>' is not an image: it holds text" in broken.stderr
    subprocess.run([*command, "--ext", "jpg"], input=data, capture_output=True, check=True)
    assert size("results/stdin_x2.jpg") == (80, 60)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_standard_output_is_one_error(model, photo):
    command = [sys.executable, "-m", "hfsr", "upscale", str(photo), "-m", model, "-o", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    expected = "hfsr upscale: standard output cannot be written (No space left on device); check free space"
    assert (done.returncode, done.stderr.decode().splitlines()) == (1, [expected])


def test_a_link_to_no_file_is_named(model, photo, capsys):
    Path("album").mkdir()
    Image.open(photo).save("album/a.png")
    os.symlink("nowhere.png", "album/h.png")
    for source in ("album", "album/*"):
        assert cli.main(["upscale", source, "-m", model]) == 0
        assert capsys.readouterr().err == (
            "hfsr upscale: 1 link leads nowhere and was skipped: 'album/h.png'\n"
        )


def test_standard_output_is_for_the_image_alone(model, photo, capsys):
    assert cli.main(["upscale", str(photo), "-m", model, "-o", "-", "--json"]) == 2
    assert "leave one out" in capsys.readouterr().err
    assert cli.main(["upscale", str(photo), "a.png", "-m", model, "-o", "-"]) == 2
    assert "there can be several results" in capsys.readouterr().err


def test_a_jpeg_that_was_cut_short(model, photo, capsys):
    buffer = io.BytesIO()
    Image.open(photo).resize((160, 120)).save(buffer, "JPEG", quality=90)
    Path("cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])
    assert cli.main(["upscale", "cut.jpg", "-m", model]) == 1
    assert "or read the complete rows with --truncated" in capsys.readouterr().err
    assert cli.main(["upscale", "cut.jpg", "-m", model, "--truncated", "-o", "o.png"]) == 0
    assert "it is cut short: of 120 rows, only the first " in capsys.readouterr().out
    assert size("o.png") == (320, 240)


def test_notes_of_the_target_are_told(model, photo, capsys):
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40), np.uint16)
    Image.fromarray(deep).save("deep.png")
    assert cli.main(["upscale", "deep.png", "-m", model, "-o", "o.jpg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["16 bit was rounded to 8, the maximum of JPEG"]


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
