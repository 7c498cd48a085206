"""8-bit integers: near the network they come from, the same by every backend, kept in a model folder."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from hfsr.archs import input_ranges, quantize_layers
from hfsr.checkpoints import read_model_folder, write_model_folder
from hfsr.cli import main
from hfsr.errors import CheckpointError, MissingDependencyError, OptionsError
from hfsr.inference import Upscaler
from hfsr.inference.conversion.quantization import quantize_model
from hfsr.model_zoo import create_model
from hfsr.samples import SAMPLE

from ..conftest import uneven_image


def samples() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, 3, 24, 24, generator=generator) * level for level in (0.3, 0.6, 1.0)]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("rcan_tiny").eval()


@pytest.fixture(scope="module")
def quantized(model) -> torch.nn.Module:
    with torch.no_grad():
        return quantize_model(model, samples())


def test_inner_convolutions_of_maps_are_quantized_and_nothing_else(model, quantized):
    layers = input_ranges(quantized)
    assert "conv_first" not in layers
    assert "conv_last" not in layers
    assert not any("attention" in name for name in layers)  # of vectors
    assert "conv_after_body" in layers
    assert quantized.conv_after_body.weight.dtype == torch.int8
    assert input_ranges(model) == {}  # left as it was


def test_it_stays_near_the_network_but_is_another(model, quantized):
    x = samples()[1]
    error = (quantized(x) - model(x)).abs().max()
    assert 0 < float(error) < 0.02


def test_sums_of_products_fit_into_16_bit(quantized):
    """CPUs without VNNI add two products, of an input of 8 bit and a weight, in a 16-bit integer."""
    weights = [quantized.get_submodule(name).weight.int() for name in input_ranges(quantized)]
    assert all(2 * 255 * int(weight.abs().max()) < 2**15 for weight in weights)


@pytest.mark.parametrize("tile", [0, 16])
def test_openvino_gives_what_torch_gives(quantized, tile):
    # Where two backends differ in the last bit a value may round to the next of 256 levels.
    x = uneven_image(32, 40)
    found = Upscaler(quantized, dtype="fp32", backend="openvino", tile=tile).tensor(x)
    assert float((found - quantized(x)).abs().mean()) < 2e-4
    pieces = Upscaler(quantized, dtype="fp32", tile=16).tensor(x)
    assert float((pieces - quantized(x)).abs().mean()) < 2e-4


def test_convolutions_without_a_bias():
    torch.manual_seed(0)
    model = create_model("a2n_tiny").eval()
    with torch.no_grad():
        quantized, x = quantize_model(model, samples()), samples()[1]
        assert 0 < float((quantized(x) - model(x)).abs().max()) < 0.02


def test_a_model_folder_brings_it_back(quantized, model, tmp_path):
    write_model_folder(quantized, tmp_path / "int8")
    write_model_folder(model, tmp_path / "fp32")
    again = read_model_folder(tmp_path / "int8")
    x = samples()[0]
    assert torch.equal(again(x), quantized(x))
    small, large = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("int8", "fp32"))
    assert small < 0.7 * large


@pytest.mark.parametrize(
    "ranges", [{"nothing": [1.0, 0]}, {"conv_last": [-1.0, 0]}, {"conv_last": [1.0, 300]}, [3]]
)
def test_a_broken_config_is_one_line(quantized, tmp_path, ranges):
    write_model_folder(quantized, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"int8_input_ranges": ranges}))
    with pytest.raises(CheckpointError, match="quantize the model again"):
        read_model_folder(tmp_path)


def test_layers_that_are_no_convolutions_are_refused(model):
    with pytest.raises(OptionsError, match="must be a convolution"):
        quantize_layers(model, {"body": [0.1, 0]})


def test_what_cannot_be_quantized_is_one_line(quantized):
    with pytest.raises(OptionsError, match="quantized already"):
        quantize_model(quantized, samples())
    with pytest.raises(OptionsError, match="no images"):
        quantize_model(create_model("edsr_tiny"), [])


def test_without_nncf_one_line_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingDependencyError, match=r"'.\[openvino\]'"):
        quantize_model(model, samples())


def test_the_command_writes_a_folder_and_says_what_it_costs(tmp_path, capsys):
    create = create_model("edsr_tiny")
    write_model_folder(create, tmp_path / "fp32")
    images = tmp_path / "pictures"
    images.mkdir()
    (images / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    status = main(["quantize", str(tmp_path / "fp32"), str(tmp_path / "int8"), "--calibration", str(images)])
    told = capsys.readouterr()
    assert status == 0, told.err
    assert "less than fp32" in told.out
    assert input_ranges(read_model_folder(tmp_path / "int8"))


def test_the_command_needs_images_to_calibrate_with(tmp_path, capsys):
    assert main(["quantize", "hfsr-x2", str(tmp_path / "out"), "--calibration", str(tmp_path)]) == 1
    assert "holds no images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
