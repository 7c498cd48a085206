"""Calibrations of bundled models, which load by the name of the model and `-int8`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import hfsr
from hfsr import _resources
from hfsr.archs import input_ranges
from hfsr.checkpoints import interpolate, read_model_folder, write_model_folder
from hfsr.checkpoints.int8_calibration import quantize_by_calibration, write_calibration
from hfsr.cli import main
from hfsr.errors import CheckpointError
from hfsr.images import read_image
from hfsr.inference.conversion.quantization import quantize_model
from hfsr.model_info import inspect_model
from hfsr.model_zoo import create_model
from hfsr.samples import SAMPLE

LOSS_DB = 40
"""PSNR of 8-bit integers to float32, at least: the error of the models themselves is much larger."""


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return create_model("edsr_tiny").eval()


@pytest.fixture(scope="module")
def quantized(tiny: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return quantize_model(tiny, [torch.rand(1, 3, 24, 24, generator=generator) for _ in range(2)])


def sample() -> torch.Tensor:
    """Part of the sample image, RGB float [0, 1], (1, 3, 96, 96)."""
    pixels = torch.from_numpy(read_image(SAMPLE).pixels[100:196, 100:196].copy())
    return pixels.permute(2, 0, 1)[None].float() / 255


def test_every_bundled_model_is_calibrated():
    assert _resources.int8_models() == [f"{name}-int8" for name in _resources.bundled_models()]


@pytest.mark.parametrize("name", _resources.bundled_models())
def test_integers_of_bundled_models_are_near_their_floats(name: str) -> None:
    model, small = hfsr.from_pretrained(name), hfsr.from_pretrained(f"{name}-int8")
    assert input_ranges(small)
    with torch.no_grad():
        error = (model(sample()) - small(sample())).square().mean()
    assert 0 < float(error) < 10 ** (-LOSS_DB / 10)


def test_calibration_gives_the_quantized_model(tiny, quantized, tmp_path):
    write_calibration(tiny, quantized, tmp_path / "int8.safetensors", images="noise")
    torch.manual_seed(0)
    found = quantize_by_calibration(create_model("edsr_tiny").eval(), tmp_path / "int8.safetensors")
    assert input_ranges(found) == input_ranges(quantized)
    for name, tensor in quantized.state_dict().items():
        difference = (found.state_dict()[name].float() - tensor.float()).abs().max()
        assert difference <= (1 if tensor.dtype == torch.int8 else 0), name  # halves are rounded either way


def test_integers_of_other_weights_are_refused(quantized, tmp_path):
    torch.manual_seed(1)
    with pytest.raises(CheckpointError, match="holds other integers than its weights give"):
        write_calibration(create_model("edsr_tiny"), quantized, tmp_path / "int8.safetensors", images="noise")
    assert list(tmp_path.iterdir()) == []


def test_calibration_of_another_model_is_refused(tmp_path):
    file = _resources.path("weights", "hfsr-denoise") / _resources.CALIBRATION_NAME
    with pytest.raises(CheckpointError, match="is no calibration of this model"):
        quantize_by_calibration(create_model("edsr_tiny"), file)
    weights = _resources.path("weights", "hfsr-denoise") / "model.safetensors"
    with pytest.raises(CheckpointError, match="is no calibration of this model"):
        quantize_by_calibration(create_model("edsr_tiny"), weights)


def test_model_folder_of_an_int8_model_needs_no_calibration(tmp_path: Path) -> None:
    small = hfsr.from_pretrained("hfsr-x2-small-int8")
    hfsr.save_pretrained(small, tmp_path / "copy")
    assert "int8_input_ranges" in (tmp_path / "copy" / "config.json").read_text()
    again = read_model_folder(tmp_path / "copy").eval()
    with torch.no_grad():
        assert torch.equal(again(sample()), small(sample()))


def test_saved_copy_states_license_start_and_parameters(tmp_path: Path) -> None:
    small, model = hfsr.from_pretrained("hfsr-x2-small-int8"), hfsr.from_pretrained("hfsr-x2-small")
    assert inspect_model(small).parameters == inspect_model(model).parameters
    hfsr.save_pretrained(small, tmp_path / "copy")
    card = (tmp_path / "copy" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "| started from | `hfsr-x2-small` |" in card
    assert "439,107" in card


def test_integers_are_not_interpolated() -> None:
    small, model = hfsr.from_pretrained("hfsr-x2-small-int8"), hfsr.from_pretrained("hfsr-x2-small")
    for a, b in ((small, model), (model, small), (small, small)):
        with pytest.raises(CheckpointError, match="8-bit integers, which cannot be interpolated"):
            interpolate(a, b, 0.5)


def test_commands_that_take_the_original_say_so(capsys) -> None:
    assert main(["info", "hfsr-x2-small-int8"]) == 0
    assert "439,107" in capsys.readouterr().out
    for command in (
        ["push", "hfsr-x2-small-int8", "org/name", "--dry-run"],
        ["evaluate", "--from-card", "hfsr-x2-small-int8", "--gt", str(SAMPLE.parent)],
        ["push-space", "org/name", "--model", "hfsr-x2-small-int8", "--dry-run"],
    ):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "'hfsr-x2-small'" in line


def test_folder_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model_folder(create_model("edsr_tiny"), tmp_path / "hfsr-x2-int8")
    assert input_ranges(hfsr.from_pretrained("hfsr-x2-int8")) == {}
    assert input_ranges(hfsr.from_pretrained("hfsr-x3-int8"))


def test_backend_is_automatic_for_integers_only():
    small, model = hfsr.from_pretrained("hfsr-x2-small-int8"), hfsr.from_pretrained("hfsr-x2-small")
    assert hfsr.Upscaler(small, device="cpu", dtype="fp32").backend == "openvino"
    assert hfsr.Upscaler(small, device="cpu", backend="torch").backend == "torch"
    assert hfsr.Upscaler(model, device="cpu", dtype="fp32").backend == "torch"
    assert hfsr.Upscaler(model, device="cpu").backend_reason is None
    assert hfsr.Upscaler([small, model], device="cpu", dtype="fp32").backend == "torch"
    up = hfsr.Upscaler(small, device="cpu", dtype="fp32")
    up.plan(300, 300)
    assert up.backend == "torch"
    up.plan(600, 600)  # from 2e11 operations on, of which each px takes about 880,000
    assert up.backend == "openvino"


def test_command_line(tmp_path, capsys):
    result = tmp_path / "x2.png"
    assert main(["upscale", str(SAMPLE), "-m", "hfsr-x2-small-int8", "-o", str(result)]) == 0
    assert result.is_file()
    assert main(["upscale", str(SAMPLE), "-m", "hfsr-x2-smal-int8", "-o", str(result)]) == 1
    assert "did you mean 'hfsr-x2-small-int8'?" in capsys.readouterr().err
