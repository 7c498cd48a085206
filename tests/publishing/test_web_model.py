"""Folders that `hfsr export --web` writes, and their cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import hfsr
from hfsr.cli import main
from hfsr.publishing import web_model
from hfsr.publishing.web_model import cached_web_model, web_name


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "small"
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), folder)
    return folder


def test_the_command_writes_a_model_and_its_manifest(model, tmp_path, capsys):
    out = tmp_path / "web" / "small"
    assert main(["export", "--web", str(model), str(out)]) == 0
    told = capsys.readouterr().out
    assert "any, in tiles with 8 px of halo" in told
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "model.onnx"]
    manifest = json.loads((out / "manifest.json").read_text())
    data = (out / "model.onnx").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["bytes"] == len(data)
    assert (manifest["name"], manifest["scale"], manifest["tiling"]) == ("small", 2, "local")
    assert manifest["does"] == "enlarges images 2 times in width and height"
    assert manifest["license"] is None


def test_card_facts_of_a_bundled_model_come_along():
    facts = web_model._card_facts("hfsr-x2")
    assert facts["license"] == "apache-2.0"
    set5 = next(result for result in facts["results"] if result["set"] == "Set5")
    assert set5["psnr_y"] > 37 > 34 > set5["baseline_psnr_y"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["missing.pth", "out"], "no checkpoint file 'missing.pth'"),
        (["{windowed}", "out"], "cannot be an ONNX file"),
        (["{model}", "{model}/config.json"], "is a file; name a folder"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(words, told, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hfsr.save_pretrained(hfsr.create_model("csnln_tiny"), tmp_path / "windowed")
    words = [word.format(model=model, windowed=tmp_path / "windowed") for word in words]
    assert main(["export", "--web", *words]) == 1
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_cache_serves_the_same_weights_alone(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HFSR_CACHE", str(tmp_path / "cache"))
    first = cached_web_model(str(model), tmp_path / "a")
    exports = []
    monkeypatch.setattr(web_model, "_write", lambda *args: exports.append(args))
    assert cached_web_model(str(model), tmp_path / "b") == first
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    assert exports == []
    monkeypatch.undo()
    monkeypatch.setenv("HFSR_CACHE", str(tmp_path / "cache"))
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), model)  # other weights
    assert cached_web_model(str(model), tmp_path / "c")["sha256"] != first["sha256"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hfsr-x2", "hfsr-x2"),
        ("org/edsr.x2", "edsr.x2"),
        ("runs/best/", "best"),
        ("my runs/no 1?#", "no-1--"),
        ("runs/..", Path.cwd().name),
    ],
)
def test_names_on_the_page(name, expected):
    assert web_name(name) == expected
