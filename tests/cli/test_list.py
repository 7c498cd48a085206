"""`hfsr list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfsr import _resources
from hfsr.checkpoints import write_model_folder
from hfsr.cli import main
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS


def test_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "TASK", "SCALES", "TILING", "PAPER", "PRESETS"]
    names = [line.split()[0] for line in lines[1:] if line.startswith(tuple(ARCHS.own()))]
    assert names == sorted(name for name, spec in ARCHS.own().items() if spec.role == "restorer")
    edsr = next(line for line in lines if line.startswith("EDSR "))
    assert edsr.split("arxiv.org/abs/")[1].split() == [
        "1707.02921",
        "edsr_baseline_x{2,3,4}",
        "edsr_x{2,3,4}",
    ]
    assert not any("_tiny" in line for line in lines)


def test_networks_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["RCAN"]["scales"] == list(ARCHS["RCAN"].scales)
    assert "rcan_x4" in rows["RCAN"]["presets"]


def test_models(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resources, "bundled_models", list)
    assert main(["list", "--models"]) == 0
    assert "no models are bundled" in capsys.readouterr().out
    write_model_folder(create_model("edsr_tiny"), tmp_path / "small")
    monkeypatch.setattr(_resources, "bundled_models", lambda: ["small"])
    monkeypatch.setattr(_resources, "path", lambda kind, name: tmp_path / name)
    assert main(["list", "--models"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["NAME", "TASK", "ARCHITECTURE", "SCALE", "PARAMETERS"]
    assert row.split()[:5] == ["small", "super-resolution", "EDSR", "2", "5,699"]
    assert row.endswith("not measured")
    assert main(["list", "--models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["folder"] == str(tmp_path / "small")


@pytest.mark.slow
def test_bundled_models_show_their_cards_numbers_and_their_speed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == _resources.bundled_models()
    for row in rows:
        assert row["seconds_per_megapixel"] > 0
        assert row["bytes"] > 2 * row["parameters"]  # float16
        text = _resources.path("model_cards", f"{row['name']}.md").read_text()
        assert row["psnr_y"]
        for psnr in row["psnr_y"].values():
            assert f" {psnr:.2f} |" in text
