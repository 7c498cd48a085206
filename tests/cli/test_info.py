"""`hfsr info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfsr.checkpoints import save_checkpoint, write_model_folder
from hfsr.cli import main
from hfsr.model_zoo import create_model


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["info", *argv]) == 0
    return capsys.readouterr().out


def test_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "EDSR")
    assert "https://arxiv.org/abs/1707.02921" in out
    row = next(line for line in out.splitlines() if line.startswith("edsr_baseline_x2"))
    assert row.split() == ["edsr_baseline_x2", "x2", "1,369,859", "316.2", "G", "36"]
    facts = json.loads(told(capsys, "EDSR", "--json"))
    assert facts["presets"]["edsr_x4"]["parameters"] == 43_089_923


def test_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "edsr_baseline_x3")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert lines["parameters"] == "1,554,499"
    assert lines["multiply-adds"] == "160.1 G for a 1280x720 result"
    assert lines["precision"] == "fp32, bf16"
    assert json.loads(told(capsys, "edsr_tiny", "--json"))["preset"] == "edsr_tiny"


def test_a_discriminator(capsys: pytest.CaptureFixture[str]) -> None:
    row = next(line for line in told(capsys, "SRGANDiscriminator").splitlines() if "discriminator_96" in line)
    assert row.split() == ["srgan_discriminator_96", "x1", "23,565,505", "none", "96"]


def test_a_model_folder_and_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_model_folder(create_model("edsr_tiny"), tmp_path / "model")
    save_checkpoint(create_model("edsr_tiny"), tmp_path / "tiny.safetensors")
    for path in (tmp_path / "model", tmp_path / "tiny.safetensors"):
        facts = json.loads(told(capsys, str(path), "--json"))
        assert (facts["model"], facts["architecture"], facts["parameters"]) == (str(path), "EDSR", 5699)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("edsr_baslin_x2", "did you mean 'edsr_baseline_x2'?"),
        ("./nothing.pth", "there is no checkpoint file './nothing.pth'"),
        ("a/b/c", "nor an id on the Hub"),
    ],
)
def test_names_that_are_nothing(capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert main(["info", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
