"""`hfsr evaluate`: numbers, JSON, tasks, tilings; bad input is one line and exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfsr
from hfsr import cli
from hfsr.checkpoints import load_checkpoint, write_model_folder
from hfsr.degradations import bicubic_down, bicubic_up
from hfsr.evaluation import evaluate, find_pairs
from hfsr.inference import Upscaler


@pytest.fixture
def model(tmp_path) -> str:
    torch.manual_seed(0)
    write_model_folder(hfsr.create_model("edsr_tiny"), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "Tiny" / "HR"
    root.mkdir(parents=True)
    (tmp_path / "Tiny" / "LR").mkdir()
    for k, name in enumerate(("one", "two")):
        gt = bicubic_up(np.random.default_rng(k).integers(0, 256, (6, 8, 3), np.uint8), 6)
        Image.fromarray(gt).save(root / f"{name}.png")
        Image.fromarray(bicubic_down(gt, 2)).save(root.parent / "LR" / f"{name}x2.png")
    return root


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_json_is_what_python_measures(model, folder, capsys):
    assert cli.main(["evaluate", "-m", model, "--gt", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    network = load_checkpoint(Path(model) / "model.safetensors")
    expected = evaluate(Upscaler(network, tile=0, dtype="fp32").tensor, find_pairs(folder, scale=2), scale=2)
    assert said["psnr_y"] == expected.psnr_y
    assert (said["model"], said["set"], said["scale"], said["images"]) == (model, "Tiny", 2, 2)
    assert (said["protocol"]["dtype"], said["protocol"]["tile"]) == ("fp32", 0)


def test_given_lr_images_and_pieces_give_the_same_numbers(model, folder, capsys):
    results = []
    for more in ([], ["--lr", str(folder.parent / "LR")], ["--tile", "16"]):
        assert cli.main(["evaluate", "-m", model, "--hr", str(folder), "--json", *more]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[1]["psnr_y"] == results[0]["psnr_y"]
    assert results[1]["protocol"]["resize"] == "LQ pictures as given"
    assert results[2]["psnr_y"] == pytest.approx(results[0]["psnr_y"], abs=1e-3)
    assert results[2]["protocol"]["tile"] == 16


def test_the_protocol_states_how_it_was_run(model, folder, capsys):
    plain, banded, eight = (
        (
            cli.main(["evaluate", "-m", model, "--gt", str(folder), "--json", *more]),
            json.loads(capsys.readouterr().out),
        )[1]
        for more in ([], ["--tile", "auto", "--dtype", "bf16"], ["--self-ensemble"])
    )
    assert plain["protocol"]["tile"] == 0
    assert str(banded["protocol"]["tile"]).startswith("rows:")
    assert "self_ensemble" not in plain["protocol"]
    assert eight["protocol"]["self_ensemble"] == "mean of 8 flips and transposes"
    network = load_checkpoint(Path(model) / "model.safetensors")
    up = Upscaler(network, tile=0, dtype="fp32", self_ensemble=True)
    assert eight["psnr_y"] == evaluate(up.tensor, find_pairs(folder, scale=2), scale=2).psnr_y
    assert eight["psnr_y"] != plain["psnr_y"]


def test_the_table_names_every_image_and_the_protocol(model, folder, capsys):
    assert cli.main(["evaluate", "-m", model, "--gt", str(folder)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["one", "two", "mean"]
    assert "bicubic PSNR-Y" in lines[2]
    for stated in ("crop 2", "dtype fp32", "tile 0", f"hfsr {hfsr.__version__}", "MATLAB bicubic"):
        assert stated in lines[-1]


@pytest.mark.parametrize(
    ("task", "stated"),
    [
        (["--task", "denoise"], ("sigma", 15.0)),
        (["--task", "denoise", "--unclipped"], ("noise", "Gaussian, neither clamped nor rounded")),
        (["--task", "jpeg"], ("quality", 30)),
        (["--task", "demosaic", "--pattern", "GRBG"], ("mosaic", "Bayer GRBG, missing colours 0")),
        (["--degradation", "[{type: GaussianBlur, sigma: 3}, {type: Jpeg}]"], ("blur_sigma", 3)),
    ],
)
def test_tasks_of_scale_one(tmp_path, folder, capsys, task, stated, monkeypatch):
    class Same(torch.nn.Module):
        scale = 1

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight

    monkeypatch.setattr("hfsr.hub.from_pretrained", lambda name, scale: Same())
    command = [
        "evaluate",
        "-m",
        "same",
        "--gt",
        str(folder),
        *task,
        "--sigma",
        "15",
        "--quality",
        "30",
    ]
    assert cli.main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["protocol"][stated[0]] == stated[1]
    assert said["psnr_y"] == said["bicubic_psnr_y"] < 45
    assert cli.main(command) == 0
    assert "input PSNR-Y" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--task", "sr", "--quality", "40"], ["--quality", "40"]])
def test_compressed_super_resolution_reduces_and_then_compresses(model, folder, capsys, words):
    compressed = folder.parent / "compressed"
    compressed.mkdir()
    for path in folder.iterdir():
        lq = bicubic_down(np.asarray(Image.open(path)), 2)
        Image.fromarray(lq).save(compressed / f"{path.stem}.jpg", quality=40)
    command = ["evaluate", "-m", model, "--gt", str(folder), "--json"]
    assert cli.main([*command, *words]) == 0
    made = json.loads(capsys.readouterr().out)
    assert cli.main([*command, "--lq", str(compressed)]) == 0
    given = json.loads(capsys.readouterr().out)
    assert made["psnr_y"] == given["psnr_y"]
    assert made["bicubic_psnr_y"] == given["bicubic_psnr_y"]
    assert made["protocol"]["resize"] == "MATLAB bicubic, antialiased, 8 bit"
    assert (made["protocol"]["jpeg"], made["protocol"]["quality"]) == ("libjpeg, 4:2:0", 40)
    assert cli.main([*command[:-1], *words]) == 0
    assert "on Tiny, x2, JPEG of quality 40, 2 images" in capsys.readouterr().out


def test_tilings_of_images_of_one_name_keep_a_map_each(model, tmp_path, capsys):
    (tmp_path / "both").mkdir()
    for suffix in ("png", "bmp"):
        Image.new("RGB", (32, 32)).save(tmp_path / "both" / f"a.{suffix}")
    command = [
        "evaluate",
        "-m",
        model,
        "--compare-tiling",
        str(tmp_path / "both"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert cli.main([*command, "--tile", "16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    names = sorted(Path(image["picture"]).name for image in said["pictures"])
    assert names == ["a.bmp_tiling.png", "a.png_tiling.png"]


def test_tilings(model, folder, capsys):
    lr = str(folder.parent / "LR")
    assert (
        cli.main(["evaluate", "-m", model, "--compare-tiling", lr, "-o", "out", "--tile", "16", "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert [loaded["input"] for loaded in said["pictures"]] == ["onex2.png", "twox2.png"]
    for loaded in said["pictures"]:
        assert [cut["method"] for cut in loaded["cuts"]] == [
            "independent tiles of 256 px, 10 px of padding",
            "independent tiles of 128 px, 10 px of padding",
            "hfsr in pieces of 16 px",
        ]
        assert loaded["cuts"][2]["of_range"] <= 1e-5
        with Image.open(loaded["picture"]) as image:
            assert image.width == 4 * 640 + 3 * 8
    assert (
        cli.main(["evaluate", "-m", model, "--compare-tiling", str(folder.parent / "LR" / "onex2.png")]) == 0
    )
    out = capsys.readouterr().out
    assert "against the whole image" in out
    assert "results/onex2_tiling.png" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of ground-truth images with --gt"),
        (["--gt", "nowhere"], "the GT folder 'nowhere' is not there"),
        (["--gt", "{gt}", "--lq", "{gt}/../HR2"], "the LQ folder"),
        (["--gt", "{gt}", "--lq", "{empty}"], "holds no images"),
        (
            ["--gt", "{gt}", "--degradation", "{{type: Jpg}}"],
            "no degradation named 'Jpg'; did you mean 'Jpeg'?",
        ),
        (["--gt", "{gt}", "--degradation", "jpeg"], "--degradation 'jpeg' is not a step"),
        (["--gt", "{gt}", "--degradation", "["], "--degradation is not YAML"),
        (
            ["--gt", "{gt}", "--task", "denoise"],
            "--task denoise is for models of scale 1, this one enlarges x2",
        ),
        (["--compare-tiling", "{empty}"], "holds no images"),
    ],
)
def test_bad_input_is_one_line(model, folder, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    given = [text.format(gt=folder, empty=tmp_path / "empty") for text in arguments]
    assert cli.main(["evaluate", "-m", model, *given]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ([], "hfsr-x2"),
        (["-s", "4"], "hfsr-x4"),
        (["--task", "denoise"], "hfsr-denoise"),
        (["--task", "jpeg"], "hfsr-dejpeg"),
        (["--quality", "75"], "hfsr-dejpeg"),
        (["--task", "sr", "--quality", "75"], "hfsr-x2-photo"),
        (["-s", "2", "--quality", "75"], "hfsr-x2-photo"),
        (["-s", "3", "--task", "sr", "--quality", "75"], "hfsr-x3"),
    ],
)
def test_without_a_model_the_scale_and_the_task_choose(monkeypatch, folder, words, model):
    asked = []

    def from_pretrained(name: str, scale: int | None) -> None:
        asked.append(name)
        raise hfsr.HfsrError("stop")

    monkeypatch.setattr("hfsr.hub.from_pretrained", from_pretrained)
    monkeypatch.setattr("hfsr._resources.bundled_models", lambda: ["hfsr-dejpeg", "hfsr-x2-photo", "hfsr-x3"])
    assert cli.main(["evaluate", "--gt", str(folder), *words]) == 1
    assert asked == [model]


@pytest.mark.parametrize("words", [["--task", "demosaic"], ["--task", "jpeg"]])
def test_a_task_without_a_bundled_model_wants_one_named(monkeypatch, folder, capsys, words):
    monkeypatch.setattr("hfsr._resources.bundled_models", list)
    assert cli.main(["evaluate", "--gt", str(folder), *words]) == 1
    assert "name one with -m" in capsys.readouterr().err
