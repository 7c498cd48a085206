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
def _in_a_folder_of_images(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    Image.fromarray(pixels[::-1].copy()).save("b.png")


QUICK = ["--iterations", "1", "--candidates", "2", "--device", "cpu"]


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_super_resolution_of_two_images_with_their_stages(networks, capsys) -> None:
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
    assert "results/a_inpaint.png: 128x128 px, the network's square, class" in out
    assert "--paste-back" in err
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 40:52] = 255
    Image.fromarray(mask).save("mask.png")
    assert cli.main([*command, "--mask", "mask.png", "--paste-back", "-o", "whole.png"]) == 0
    before, after = (np.asarray(Image.open(name)) for name in ("a.png", "whole.png"))
    changed = (before != after).any(2)
    assert changed[mask > 0].mean() > 0.9
    assert not changed[mask == 0].any()
    out, err = capsys.readouterr()
    assert "whole.png: 60x40 px, the whole image" in out
    assert err == ""


def test_frames_are_numbered(networks, capsys) -> None:
    common = [*networks, *QUICK]
    assert cli.main(["prior", "jitter", "a.png", "b.png", "--count", "2", *common]) == 0
    assert "results/a_jitter_00.png and 1 more: 128x128 px" in capsys.readouterr().out
    command = ["prior", "morph", "a.png", "b.png", "--count", "3", "-o", "way", "--stages", "seen", *common]
    assert cli.main(command) == 0
    assert sorted(path.name for path in Path("results").iterdir()) == [
        f"{name}_jitter_0{i}.png" for name in "ab" for i in range(2)
    ]
    assert sorted(path.name for path in Path("way").iterdir()) == [f"a_morph_0{i}.png" for i in range(3)]
    assert sorted(path.name for path in Path("seen").iterdir()) == [
        f"a_morph_stage{i}.png" for i in range(1, 7)
    ]


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
    assert cli.main(["prior", "sr", "a.png", *networks, *QUICK, "--stages", "seen"]) == 130
    assert capsys.readouterr().err == "hfsr prior: 'a.png': stopped before the end; nothing was written\n"
    assert sorted(Path().rglob("*")) == before


def test_a_bad_second_image_is_told_before_the_first_is_fitted(networks, capsys) -> None:
    Image.new("RGB", (1, 1)).save("tiny.png")
    assert cli.main(["prior", "sr", "a.png", "tiny.png", *networks, *QUICK]) == 1
    assert "1x1 px is too small" in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_missing_image_is_told_before_the_networks_are_read(capsys) -> None:
    assert cli.main(["prior", "sr", "gone.png", "--generator", "no-g", "--discriminator", "no-d"]) == 1
    assert "gone.png" in capsys.readouterr().err


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
    "mask size": (["inpaint", "a.png", "--mask", "tiny.png"], "1x1 px and the image 60x40"),
    "all hole": (["inpaint", "a.png", "--mask", "light.png"], "light everywhere"),
    "all seen": (
        ["inpaint", "a.png", "--brush", "10,0,40,40"],
        "covers the whole square that the generator gets",
    ),
    "brush": (["inpaint", "a.png", "--brush", "50,0,20,5"], "brush 50,0,20,5"),
    "resolution": (["sr", "a.png", "--discriminator", "D256.safetensors"], "discriminator of 256"),
    "restorer": (["sr", "a.png", "--generator", "hfsr-x2"], "is not a BigGAN generator"),
    "own": (["sr", "a.png", "-o", "a.png"], "overwrite an input"),
    "alpha": (
        ["inpaint", "clear.png", "--brush", "1,1,9,9", "--paste-back", "-o", "x.jpg"],
        "transparency",
    ),
    "no folder": (["sr", "a.png", "-o", "b.png/out.png"], "cannot be created"),
}


def bad_images() -> None:
    Path("folder").mkdir()
    Image.new("RGB", (1, 1)).save("tiny.png")
    Image.new("L", (60, 40), 255).save("light.png")
    Image.new("RGBA", (60, 40), 255).save("clear.png")
    Path("folder/a.png").write_bytes(Path("a.png").read_bytes())


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, networks, capsys) -> None:
    words, message = BAD[case]
    bad_images()
    if case == "resolution":
        save_checkpoint(BigGANDiscriminator(resolution=256, num_feat=8, num_class=3), "D256.safetensors")
    before = sorted(Path().rglob("*"))
    assert cli.main(["prior", words[0], *networks, *QUICK, *words[1:]]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


WRONG = {
    "class name": (["sr", "a.png", "--class", "cat"], "--class 'cat'"),
    "no hole": (["inpaint", "a.png"], "--mask FILE or --brush"),
    "two holes": (["inpaint", "a.png", "--brush", "1,1,2,2", "--mask", "b.png"], "either --mask"),
    "mask of sr": (["sr", "a.png", "--mask", "b.png"], "--mask belongs to inpaint"),
    "bias of inpaint": (["colorize", "a.png", "--bias", "mse"], "--bias belongs to sr"),
    "count of sr": (["sr", "a.png", "--count", "2"], "--count belongs to jitter and morph"),
    "strength of morph": (["morph", "a.png", "b.png", "--strength", "0"], "--strength belongs to jitter"),
    "morph": (["morph", "a.png"], "needs two images"),
    "file of many": (["sr", "a.png", "b.png", "-o", "out.png"], "names a file"),
    "file of frames": (["jitter", "a.png", "-o", "out.png"], "names a file"),
    "task": (["cure", "a.png"], "cure"),
    "brush": (["inpaint", "a.png", "--brush", "1,2"], "--brush"),
    "count": (["jitter", "a.png", "--count", "0"], "above 0"),
    "iterations": (["sr", "a.png", "--iterations", "-1"], "above 0"),
    "candidates": (["sr", "a.png", "--candidates", "0"], "above 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line(case, networks, capsys) -> None:
    words, message = WRONG[case]
    before = sorted(Path().rglob("*"))
    try:
        code: object = cli.main(["prior", words[0], *networks, *QUICK, *words[1:]])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before
