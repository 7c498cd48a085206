"""`hfsr zeroshot`: what is written and said, and that bad input is one line and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfsr import cli
from hfsr.priors import ZeroShot
from hfsr.samples import SAMPLE


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def photo(tmp_path) -> str:
    path = tmp_path / "photo.png"
    Image.open(SAMPLE).crop((600, 300, 640, 330)).save(path)
    return str(path)


QUICK = ("--iterations", "2")


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_one_image_and_its_json(photo, capsys) -> None:
    np.save("kernel.npy", np.full((3, 3), 1 / 9))
    command = ["zeroshot", photo, "-s", "1.5x2", "-o", "out.png", "--kernel", "kernel.npy", "--json", *QUICK]
    assert cli.main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notes"] == []
    assert (told["width"], told["height"], told["scale"], told["iterations"]) == (60, 60, [1.5, 2.0], 2)
    assert told["kernel"] == "kernel.npy"
    assert told["peak_memory_bytes"] > 10 << 20
    assert {"input", "output", "dtype", "device", "seconds"} <= set(told)
    assert size("out.png") == (60, 60)


def test_the_default_place_and_what_is_said(photo, capsys) -> None:
    assert cli.main(["zeroshot", photo, *QUICK]) == 0
    assert size("results/photo_zeroshot_x2.png") == (80, 60)
    assert "learned in 2 iterations" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(photo, capsys) -> None:
    assert cli.main(["zeroshot", photo, "--dry-run"]) == 0
    assert "80x60 px, whole: at most" in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_ctrl_c_says_that_nothing_was_written(photo, capsys, monkeypatch) -> None:
    def steps(*_: object, **__: object):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ZeroShot, "image_steps", steps)
    for place in ([], ["-o", "out.png"], ["-o", "new/folder/out.png"]):
        assert cli.main(["zeroshot", photo, *place]) == 130
        err = capsys.readouterr().err
        assert err == "hfsr zeroshot: stopped before the end; nothing was written\n"
        assert list(Path().iterdir()) == []


BAD = {
    "missing": (["gone.png"], "gone.png"),
    "tiny": (["tiny.png"], "1x1 px is too small"),
    "kernel": (["PHOTO", "--kernel", "half.txt"], "sums to 0.5"),
    "no kernel": (["PHOTO", "--kernel", "gone.npy"], "gone.npy"),
    "scale": (["PHOTO", "-s", "9"], "scale 9"),
    "real scale": (["PHOTO", "-s", "1.5", "--kernel", "estimate"], "whole scale"),
    "noise": (["PHOTO", "--noise", "-2"], "noise -2"),
    "ending": (["PHOTO", "-o", "out.docx"], "docx"),
    "folder": (["PHOTO", "-o", "half.txt/out.png"], "cannot be created"),
    "dtype": (["PHOTO", "--dtype", "fp16"], "fp16"),
    "device": (["PHOTO", "--device", "toaster"], "toaster"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, photo, capsys) -> None:
    words, message = BAD[case]
    Image.new("RGB", (1, 1)).save("tiny.png")
    np.savetxt("half.txt", [[0.25, 0.25]])
    before = sorted(Path().rglob("*"))
    code = cli.main(["zeroshot", *(photo if word == "PHOTO" else word for word in words)])
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


WRONG = [["-s", "big"], ["-s", "2x"], ["-s", "x"], ["--iterations", "0"], ["-o", "PHOTO"]]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_is_one_line(photo, words, capsys) -> None:
    try:
        code: object = cli.main(["zeroshot", photo, *(photo if word == "PHOTO" else word for word in words)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
