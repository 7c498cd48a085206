"""`hfsr evaluate --from-card`: the numbers of a card are repeated, and what differs is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hfsr import cli
from hfsr.checkpoints import write_model_folder
from hfsr.model_zoo import create_model


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    noise = np.random.default_rng(0)
    folders = []
    for name in ("One", "Two"):
        folders.append(tmp_path / name / "HR")
        folders[-1].mkdir(parents=True)
        pixels = noise.integers(0, 256, (8, 9, 3), np.uint8)
        Image.fromarray(pixels).resize((36, 32)).save(folders[-1] / "a.png")
    return [str(folder) for folder in folders]


@pytest.fixture
def model(tmp_path: Path, sets: list[str], capsys: pytest.CaptureFixture[str]) -> Path:
    write_model_folder(create_model("edsr_tiny"), tmp_path / "model")
    assert cli.main(["push", str(tmp_path / "model"), "org/model", "--dry-run", "--gt", *sets]) == 0
    capsys.readouterr()
    return tmp_path / "model"


def test_a_card_is_repeated(model: Path, sets: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", *sets, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["set"] for one in said["sets"]] == ["One", "Two"]
    assert said["left_out"] == []
    for one in said["sets"]:
        assert one["deviations"] == []
        assert one["here"]["psnr_y"] == pytest.approx(one["card"]["psnr_y"], abs=1e-3)
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", sets[0]]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("One x2: PSNR (Y) ")
    assert told[1] == "not repeated, because --gt names no folder for them: Two x2"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index["dataset"].pop("args"), "scale of the set 'One' is missing"),
        (lambda index: index["dataset"]["args"].update(scale="x2"), "scale of the set 'One' is 'x2'"),
        (lambda index: index["metrics"][0].update(value="31.5"), "psnr_y of the set 'One' is '31.5'"),
        (lambda index: index["dataset"].update(args=[1]), "scale of the set 'One' is missing"),
        (lambda index: index["dataset"].update(name=5), "the name of the set 5 is no text"),
        (lambda index: [m.pop("args") for m in index["metrics"]], "the protocol of the set 'One' is missing"),
    ],
)
def test_a_card_that_was_edited(
    model: Path,
    sets: list[str],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], Any],
    told: str,
) -> None:
    card = model / "README.md"
    _, front, text = card.read_text().split("---\n", 2)
    data = yaml.safe_load(front)
    change(data["model-index"][0]["results"][0])
    card.write_text(f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n{text}")
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", *sets]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_two_folders_of_one_name(
    model: Path, sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "elsewhere" / "One" / "HR"
    shutil.copytree(sets[0], other)
    folders = [sets[0], str(other)]
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", *folders]) == 1
    assert "several folders called 'One'" in capsys.readouterr().err
    card = (model / "README.md").read_bytes()
    argv = ["push", str(model), "org/model", "--dry-run", "--no-example", "--gt", *folders]
    assert cli.main(argv) == 1
    captured = capsys.readouterr()
    assert "several sets called 'One'" in captured.err
    assert captured.out == ""
    assert (model / "README.md").read_bytes() == card


def test_one_line_for_each_deviation(
    model: Path, sets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    card = model / "README.md"
    lines = card.read_text().splitlines(keepends=True)
    first = next(k for k, line in enumerate(lines) if line.strip().startswith("value: "))
    value = float(lines[first].split()[1])
    lines[first] = lines[first].replace(lines[first].split()[1], f"{value + 0.002:.4f}")
    card.write_text("".join(lines).replace("sigma 1.5", "sigma 2", 1))
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", *sets]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "differs" in line]
    assert len(told) == 2
    assert f"PSNR (Y): the card has {value + 0.002:.4f} dB, here it is {value:.4f} dB (-0.0020 dB)" in told[0]
    assert "ssim: the card has '11x11 Gaussian, sigma 2'" in told[1]


def test_other_weights_are_noticed(
    model: Path, sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model_folder(create_model("edsr_tiny"), tmp_path / "other")
    argv = ["evaluate", "--from-card", str(model), "-m", str(tmp_path / "other"), "--gt", sets[0], "--json"]
    assert cli.main(argv) == 1
    [one] = json.loads(capsys.readouterr().out)["sets"]
    assert len(one["deviations"]) >= 2
    assert not any("baseline" in line for line in one["deviations"])


def test_noise_is_repeated_as_the_card_says(
    sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hfsr.hub import save_pretrained
    from hfsr.hub.cards.edit import replace_results

    folder = str(save_pretrained(create_model("mirnet_tiny"), tmp_path / "denoiser"))
    how = ["--task", "denoise", "--sigma", "15", "--unclipped", "--seed", "3", "--self-ensemble"]
    assert cli.main(["evaluate", "-m", folder, "--gt", sets[0], *how, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    card = Path(folder, "README.md")
    card.write_text(replace_results(card.read_text(), [report], name="denoiser"))
    assert cli.main(["evaluate", "--from-card", folder, "--gt", sets[0], "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)["sets"]
    assert one["here"]["protocol"]["sigma"] == 15


def test_compressed_images_are_repeated_beside_clean_ones(
    model: Path, sets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["push", str(model), "org/model", "--dry-run", "--gt", sets[0], "--task", "sr"]
    assert cli.main([*command, "--quality", "75", "20"]) == 0
    assert [line.split(",")[1] for line in capsys.readouterr().out.splitlines()[:2]] == [
        " quality 75",
        " quality 20",
    ]
    assert cli.main(["evaluate", "-m", str(model), "--gt", sets[1], "--json"]) == 0
    from hfsr.hub.cards.edit import replace_results
    from hfsr.hub.cards.results import reports_from_card

    clean = json.loads(capsys.readouterr().out)
    card = model / "README.md"
    reports = [*reports_from_card(card.read_text()), clean]
    card.write_text(replace_results(card.read_text(), reports, name="model"))
    assert "| One | x2, quality 75 |" in card.read_text()
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", *sets, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["sets"]
    assert [(one["set"], one["here"]["protocol"].get("quality")) for one in told] == [
        ("One", 75),
        ("One", 20),
        ("Two", None),
    ]
    assert told[0]["here"]["psnr_y"] != told[1]["here"]["psnr_y"]


def test_a_jpeg_that_no_option_names_is_told_and_not_taken_for_another(
    model: Path, sets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    how = "[{type: Bicubic}, {type: Jpeg, quality: 30, subsampling: '4:4:4'}]"
    assert cli.main(["push", str(model), "org/m", "--dry-run", "--gt", sets[0], "--degradation", how]) == 0
    assert cli.main(["evaluate", "--from-card", str(model), "--gt", sets[0]]) == 1
    assert "jpeg: the card has 'libjpeg, 4:4:4', here it is 'None'" in capsys.readouterr().out
    command = ["evaluate", "--from-card", str(model), "--gt", sets[0], "--degradation", how]
    assert cli.main(command) == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--from-card", "model", "--gt", "Elsewhere"], "none of the sets on the card of 'model' is among"),
        (["--from-card", "bare", "--gt", "One"], "'bare' has no card"),
        (["-m", "model", "--gt", "One", "Two"], "which only --from-card takes"),
        (["-m", "model", "--gt", "hf://datasets/name"], "write hf://datasets/owner/name/folder"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    said: str,
) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", *argv]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
