"""`hfsr prior`: every task from the command line, and that bad input is one line and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hfsr import cli
from hfsr.archs.biggan import BigGANDiscriminator, BigGANGenerator
from hfsr.checkpoints import save_checkpoint
from hfsr.priors.generative import GenerativePrior


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> list[str]:
    """A pair that knows nothing: what is written does not depend on what is in it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pair")
    torch.save(
        BigGANGenerator(num_feat=8, z_chunk=4, shared_dim=8, num_class=3).state_dict(),
        folder / "G_ema_128.pth",
    )
    torch.save(BigGANDiscriminator(num_feat=8, num_class=3).state_dict(), folder / "D_128.pth")
    return ["--generator", str(folder / "G_ema_128.pth"), "--discriminator", str(folder / "D_128.pth")]


@pytest.fixture(autouse=True)
def _in_a_folder_of_pictures(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    Image.fromarray(pixels[::-1].copy()).save("b.png")


QUICK = ["--iterations", "1", "--candidates", "2", "--device", "cpu"]


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_super_resolution_of_two_pictures_with_their_stages(networks, capsys) -> None:
    command = ["prior", "sr", "a.png", "b.png", *networks, *QUICK, "--class", "1", "-o", "out", "--json"]
    assert cli.main([*command, "--stages", "seen"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outputs"] for line in told] == [["out/a_sr.png"], ["out/b_sr.png"]]
    assert {(line["width"], line["height"], line["class"]) for line in told} == {(128, 128, 1)}
    assert size("out/a_sr.png") == (128, 128)
    assert sorted(path.name for path in Path("seen").iterdir()) == [
        f"{name}_sr_stage{i}.png" for name in "ab" for i in range(1, 6)
    ]


def test_inpainting_says_what_the_square_is_and_pastes_back(networks, capsys) -> None:
    command = ["prior", "inpaint", "a.png", *networks, *QUICK]
    assert cli.main([*command, "--brush", "40,5,12,20"]) == 0
    out, err = capsys.readouterr()
    assert "results/a_inpaint.png: 128x128 px" in out
    assert "--paste-back" in err
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 40:52] = 255
    Image.fromarray(mask).save("mask.png")
    assert cli.main([*command, "--mask", "mask.png", "--paste-back", "-o", "whole.png"]) == 0
    before, after = (np.asarray(Image.open(name)) for name in ("a.png", "whole.png"))
    changed = (before != after).any(2)
    assert changed[mask > 0].mean() > 0.9
    assert not changed[mask == 0].any()
    assert capsys.readouterr().err == ""


def test_frames_go_to_a_folder(networks, capsys) -> None:
    common = [*networks, *QUICK]
    assert cli.main(["prior", "jitter", "a.png", "--count", "2", *common]) == 0
    assert cli.main(["prior", "morph", "a.png", "b.png", "--count", "3", "-o", "way", *common]) == 0
    assert sorted(str(path) for path in Path("results").rglob("*.png")) == [
        "results/a_jitter/00.png",
        "results/a_jitter/01.png",
    ]
    assert sorted(path.name for path in Path("way").iterdir()) == ["00.png", "01.png", "02.png"]


def test_a_dry_run_writes_nothing(networks, capsys) -> None:
    before = sorted(Path().rglob("*"))
    assert cli.main(["prior", "colorize", "a.png", *networks, "--dry-run"]) == 0
    assert "1 x 128x128 px: 500 starts, then 1400 iterations: about" in capsys.readouterr().out
    assert sorted(Path().rglob("*")) == before


def test_ctrl_c_says_that_nothing_was_written(networks, capsys, monkeypatch) -> None:
    def steps(*_: object, **__: object):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(GenerativePrior, "sr", steps)
    before = sorted(Path().rglob("*"))
    assert cli.main(["prior", "sr", "a.png", *networks, *QUICK]) == 130
    assert capsys.readouterr().err == "hfsr prior: 'a.png': stopped before the end; nothing was written\n"
    assert sorted(Path().rglob("*")) == before


def test_a_released_layout_converts_and_is_used(networks, capsys) -> None:
    for word, path, name in zip(
        ("G", "D"), networks[1::2], ("BigGANGenerator", "BigGANDiscriminator"), strict=True
    ):
        assert cli.main(["convert", path, word, "--licence", "mit"]) == 0
        assert name in capsys.readouterr().out
    command = ["prior", "sr", "a.png", "--generator", "G", "--discriminator", "D", *QUICK]
    assert cli.main(command) == 0
    assert size("results/a_sr.png") == (128, 128)


BAD = {
    "missing": (["sr", "gone.png"], "gone.png"),
    "tiny": (["sr", "tiny.png"], "1x1 px is too small"),
    "class": (["sr", "a.png", "--class", "3"], "class 3 is out of range"),
    "class name": (["sr", "a.png", "--class", "cat"], "--class 'cat'"),
    "no hole": (["inpaint", "a.png"], "--mask FILE or --brush"),
    "two holes": (["inpaint", "a.png", "--brush", "1,1,2,2", "--mask", "tiny.png"], "one of them"),
    "mask size": (["inpaint", "a.png", "--mask", "tiny.png"], "1x1 px and the picture 60x40"),
    "all hole": (["inpaint", "a.png", "--mask", "light.png"], "light everywhere"),
    "brush": (["inpaint", "a.png", "--brush", "50,0,20,5"], "brush 50,0,20,5"),
    "mask of sr": (["sr", "a.png", "--mask", "light.png"], "belong to inpaint"),
    "morph": (["morph", "a.png"], "give two"),
    "file of many": (["sr", "a.png", "b.png", "-o", "out.png"], "names a file"),
    "resolution": (["sr", "a.png", "--discriminator", "D256.safetensors"], "judges 256"),
    "restorer": (["sr", "a.png", "--generator", "hfsr-x2"], "is no generator"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, networks, capsys) -> None:
    words, message = BAD[case]
    Image.new("RGB", (1, 1)).save("tiny.png")
    Image.new("L", (60, 40), 255).save("light.png")
    if case == "resolution":
        save_checkpoint(BigGANDiscriminator(resolution=256, num_feat=8, num_class=3), "D256.safetensors")
    before = sorted(Path().rglob("*"))
    assert cli.main(["prior", words[0], *networks, *QUICK, *words[1:]]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before
