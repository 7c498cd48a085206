"""ONNX files in fp16 and int8: run by onnxruntime at any size, near the network, quantized where meant."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import hfsr
from hfsr.cli import main
from hfsr.errors import CheckpointError, OptionsError, PlanError
from hfsr.inference.conversion import onnx_reduced
from hfsr.inference.conversion.onnx_export import export_onnx
from hfsr.inference.conversion.onnx_reduced import export_onnx_reduced, onnx_function
from hfsr.samples import SAMPLE

SAMPLES = [torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return hfsr.create_model("EDSR", scale=2, num_feat=16, num_block=2, res_scale=1).eval()


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
    """The float32 file, which takes the longest to make."""
    path = tmp_path_factory.mktemp("whole") / "fp32.onnx"
    export_onnx(model, path)
    return path


@pytest.fixture(autouse=True)
def _exported_once(request, monkeypatch) -> None:
    if "model" in request.fixturenames:
        whole = request.getfixturevalue("whole")
        monkeypatch.setattr(onnx_reduced, "export_onnx", lambda model, path: shutil.copy(whole, path))


@pytest.fixture
def paths(model, tmp_path) -> dict[str, Path]:
    found = {dtype: tmp_path / f"{dtype}.onnx" for dtype in ("fp16", "int8")}
    export_onnx_reduced(model, found["fp16"], "fp16")
    export_onnx_reduced(model, found["int8"], "int8", SAMPLES)
    return found


@pytest.mark.parametrize(("dtype", "psnr"), [("fp16", 60), ("int8", 38)])
def test_onnxruntime_runs_it_at_any_size(model, paths, dtype, psnr):
    x = torch.rand(2, 3, 21, 38)
    with torch.inference_mode():
        expected = model(x)
    found = onnx_function(paths[dtype])(x)
    assert found.dtype == torch.float32
    error = (found - expected).square().mean()
    assert 0 < error < 10 ** (-psnr / 10)


def test_only_blocks_are_quantized_and_their_weights_have_7_bits(paths):
    graph = onnx.load(paths["int8"]).graph
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    produced = {output: node for node in graph.node for output in node.output}
    quantized = {
        node.input[1]: produced[node.input[1]]
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in produced
    }
    assert len(quantized) == 4  # two blocks of two
    assert sum(node.op_type == "Conv" for node in graph.node) == 8
    for dequantize in quantized.values():
        weights = arrays[dequantize.input[0]]
        assert weights.dtype == np.int8
        assert 0 < abs(weights.astype(int)).max() <= 64


def test_they_are_smaller(whole, paths):
    sizes = {dtype: path.stat().st_size / whole.stat().st_size for dtype, path in paths.items()}
    assert sizes["fp16"] < 0.7
    assert sizes["int8"] < 0.9


def test_it_is_no_checkpoint(paths):
    for dtype, path in paths.items():
        with pytest.raises(CheckpointError, match=f"is of {dtype}, made for onnxruntime"):
            hfsr.from_pretrained(path)


def test_the_root_logger_and_standard_output_stay_as_they_are(model, tmp_path, capsys):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    export_onnx_reduced(model, tmp_path / "a.onnx", "int8", SAMPLES[:1])
    assert (root.level, root.handlers) == before
    assert capsys.readouterr().out == ""


def test_a_file_that_is_far_from_the_network_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setitem(onnx_reduced.SMALLEST_PSNR, "fp16", 300.0)
    with pytest.raises(PlanError, match="dB to torch; it was not written"):
        export_onnx_reduced(model, tmp_path / "a.onnx", "fp16")
    assert not list(tmp_path.iterdir())


def test_weights_that_overflow_are_refused(tmp_path):
    large = hfsr.create_model("edsr_tiny").eval()
    with torch.no_grad():
        large.conv_first.weight.mul_(1e6)
        large.conv_last.weight.div_(1e6)
    with pytest.raises(PlanError, match="in fp16"):
        export_onnx_reduced(large, tmp_path / "a.onnx", "fp16")
    assert not list(tmp_path.iterdir())


def test_arguments(model, tmp_path):
    with pytest.raises(OptionsError, match="use fp16 or int8"):
        export_onnx_reduced(model, tmp_path / "a.onnx", "bf16")
    with pytest.raises(OptionsError, match="no images for calibration"):
        export_onnx_reduced(model, tmp_path / "a.onnx", "int8")


def test_a_path_that_cannot_be_written_is_one_line(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"'.*gone.x\.onnx' cannot be written"):
        export_onnx_reduced(model, tmp_path / "gone" / "x.onnx", "fp16")


def test_the_command(model, tmp_path, capsys):
    hfsr.save_pretrained(model, tmp_path / "model")
    command = ["export", str(tmp_path / "model"), str(tmp_path / "a.onnx")]
    assert main([*command, "--dtype", "int8"]) == 2
    assert main([*command, "--calibration", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("belong together") == 2
    assert main([command[0], command[1], str(tmp_path / "a.param"), "--dtype", "int8"]) == 2
    capsys.readouterr()
    assert main([*command, "--dtype", "int8", "--calibration", str(SAMPLE.parent)]) == 0
    out = capsys.readouterr().out
    assert "dB less than fp32, on 1 of the images" in out
    assert main([*command, "--dtype", "fp16"]) == 0
    assert "dB to torch" in capsys.readouterr().out
