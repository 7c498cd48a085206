"""`hfsr prepare` as it is typed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hfsr.cli import main


@pytest.fixture
def images(tmp_path):
    (tmp_path / "hr").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 36, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "hr" / f"{number}.png")
    return tmp_path / "hr"


def test_crops_and_what_would_be_made(images, tmp_path, capsys):
    command = ["prepare", "subimages", str(images), str(tmp_path / "sub"), "--size", "20", "--step", "16"]
    assert main([*command, "--dry-run"]) == 0
    assert "would make 12 images of 2" in capsys.readouterr().out
    assert not (tmp_path / "sub").exists()
    assert main(command) == 0
    assert "12 images made, 0 were there" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 images made, 12 were there" in capsys.readouterr().out


def test_lr_images(images, tmp_path, capsys):
    assert main(["prepare", "lr", str(images), str(tmp_path / "lr"), "-s", "4", "2"]) == 0
    assert sorted(p.name for p in (tmp_path / "lr").rglob("*.png")) == [
        "0x2.png",
        "0x4.png",
        "1x2.png",
        "1x4.png",
    ]


@pytest.mark.parametrize(
    ("what", "out"), [("meta_info", "m.txt"), ("lmdb", "a.lmdb"), ("h5", "a.h5"), ("pack", "a.pack")]
)
def test_one_file_of_a_folder(images, tmp_path, capsys, what, out):
    command = [
        "prepare",
        what,
        str(images),
        str(tmp_path / out),
        *(["--size", "16"] if what == "pack" else []),
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "of 2 images" in capsys.readouterr().out
    assert not (tmp_path / out).exists()
    assert main(command) == 0
    assert f"a.{what}" in (told := capsys.readouterr().out) or "m.txt" in told
    assert ("8 images" if what == "pack" else "2 images") in told


def test_pairs(tmp_path, capsys):
    real = tmp_path / "real"
    for kind in ("high", "low"):
        (real / "our485" / kind).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(real / "our485" / kind / "1.png")
    assert main(["prepare", "pairs", "lol", str(real), "--link", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    for part in ("train: 1 pairs", "484 of the published 485 are missing", "val: not here", "dataroot_gt: "):
        assert part in told
    assert (tmp_path / "out" / "train" / "input" / "1.png").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lr", "HR", "OUT", "-s", "1"], "--scale 1 does not reduce the images"),
        (["pack", "HR", "OUT"], "must end with .pack"),
        (["subimages", "absent", "OUT"], "there is no folder 'absent'"),
        (["subimages", "HR", "OUT", "--size", "0"], "must be 1 or more"),
        (["pairs", "DIV3K", "HR"], "did you mean 'DIV2K'"),
    ],
)
def test_errors_are_one_line(images, tmp_path, capsys, words, told):
    places = {"HR": str(images), "OUT": str(tmp_path / "out")}
    assert main(["prepare", *(places.get(word, word) for word in words)]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
