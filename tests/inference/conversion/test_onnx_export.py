"""ONNX files: what onnxruntime makes of them at any size, and that they are models again."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import hfsr
from hfsr.cli import main
from hfsr.errors import CheckpointError, MissingDependencyError, OptionsError, PlanError
from hfsr.inference.conversion import onnx_export
from hfsr.inference.conversion.onnx_export import TOLERANCE, export_onnx
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS

RESTORERS = sorted(name for name, spec in ARCHS.own().items() if spec.role == "restorer")
REFUSED = ("CSNLN", "MetaRDN", "PAEDSR", "PyramidAttentionNet")
QUICK = ("DRN", "EDSR", "ESPCN", "SRResNet")
"""A size multiple and weights no output needs; the plain one; a mirrored border; counters of batches."""


def tiny(name: str) -> torch.nn.Module:
    model = create_model(next(p for p in ARCHS[name].presets if p.endswith("_tiny"))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))  # no two alike
    return model


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RESTORERS if n not in REFUSED],
)
def test_onnxruntime_gives_what_torch_gives_and_the_file_is_a_model_again(name, tmp_path):
    model, path = tiny(name), tmp_path / "model.onnx"
    assert export_onnx(model, path) <= TOLERANCE
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = torch.rand(3, 3, 21, 38)  # another batch and size than export itself looks at
    with torch.no_grad():
        expected = model(x).numpy()
        again = hfsr.from_pretrained(path)
        assert np.abs(again(x).numpy() - expected).max() == 0
    assert np.abs(session.run(["sr"], {"lq": x.numpy()})[0] - expected).max() <= TOLERANCE


@pytest.mark.parametrize("name", REFUSED)
def test_networks_whose_graph_depends_on_the_size_are_refused(name, tmp_path):
    with pytest.raises(PlanError, match=f"{name} .* size.* cannot be an ONNX file"):
        export_onnx(tiny(name), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "difference_to_torch", lambda model, path: 0.5)
    with pytest.raises(PlanError, match="differs from torch by 5"):
        export_onnx(tiny("EDSR"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_foreign_or_broken_file_is_one_line(tmp_path):
    graph = onnx.helper.make_graph([], "foreign", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="not written by hfsr export"):
        hfsr.from_pretrained(tmp_path / "foreign.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\xff\xff no protobuf")
    with pytest.raises(CheckpointError, match="not an intact ONNX file"):
        hfsr.from_pretrained(tmp_path / "broken.onnx")


def test_another_ending_or_a_missing_package_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(OptionsError, match=r"must end in \.onnx"):
        export_onnx(tiny("EDSR"), tmp_path / "model.pb")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"'.\[export\]'"):
        export_onnx(tiny("EDSR"), tmp_path / "model.onnx")


def test_the_command_says_what_was_checked(tmp_path, capsys):
    hfsr.save_pretrained(tiny("EDSR"), tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "out.onnx")]) == 0
    assert "of torch at three sizes" in capsys.readouterr().out
    assert (tmp_path / "out.onnx").stat().st_size > 0
