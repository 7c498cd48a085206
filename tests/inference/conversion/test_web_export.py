"""Models for the browser: their facts, exact tiles, weights in 16 bit, and what cannot run."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import hfsr
from hfsr.errors import PlanError
from hfsr.inference.conversion import web_export
from hfsr.inference.conversion.web_export import export_web
from hfsr.model_zoo import create_model


def trained(preset: str, *, in_half: bool = True) -> torch.nn.Module:
    """A tiny network with weights that make every px depend on its whole receptive field."""
    model = create_model(preset).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.rand(parameter.shape))
            if in_half:
                parameter.copy_(parameter.half().float())
    return model


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def test_a_local_network_runs_in_tiles_with_its_halo_and_not_with_less(tmp_path):
    model, path = trained("edsr_tiny"), tmp_path / "model.onnx"
    facts = export_web(model, path)
    assert (facts.tiling, facts.halo, facts.scale, facts.max_pixels) == ("local", 8, 2, None)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    x = torch.rand(1, 3, 60, 40)
    whole = run(path, x)
    with torch.no_grad():
        assert np.abs(whole - model(x).numpy()).max() < 1e-5

    def tile(halo):
        """Rows 20 to 39 of the image, in a tile of their own."""
        result = run(path, x[:, :, 20 - halo : 40 + halo])
        return np.abs(result[:, :, 2 * halo : 2 * (halo + 20)] - whole[:, :, 40:80]).max()

    assert tile(facts.halo) < 1e-6
    assert tile(facts.halo - 1) > 1e-5


def test_weights_that_16_bits_hold_are_stored_in_16_bits(tmp_path):
    for in_half, expected in ((True, onnx.TensorProto.FLOAT16), (False, onnx.TensorProto.FLOAT)):
        path = tmp_path / f"{in_half}.onnx"
        export_web(trained("edsr_tiny", in_half=in_half), path)
        large = [t for t in onnx.load(path).graph.initializer if np.prod(t.dims) > 1000]
        assert large
        assert {tensor.data_type for tensor in large} == {expected}
    again = hfsr.from_pretrained(tmp_path / "True.onnx")
    assert torch.equal(again.body[0].conv1.weight, trained_again(0).body[0].conv1.weight)


def trained_again(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return trained("edsr_tiny")


def test_the_flat_check_holds_what_torch_returns(tmp_path):
    model = trained("edsr_tiny")
    check = export_web(model, tmp_path / "model.onnx").flat_check
    for color, output in zip(check.colors, check.outputs, strict=True):
        x = torch.tensor(color)[None, :, None, None].expand(1, 3, check.side, check.side)
        found = run(tmp_path / "model.onnx", x.contiguous())[0, :, check.side, check.side]
        assert np.abs(found - output).max() < check.tolerance / 10


def test_a_pooled_network_runs_whole_up_to_a_size(tmp_path):
    facts = export_web(trained("rcan_tiny"), tmp_path / "model.onnx")
    assert (facts.tiling, facts.halo) == ("whole", 0)
    assert facts.max_pixels == web_export.MEMORY // facts.memory_per_pixel
    assert 10_000 < facts.max_pixels < 100_000_000


@pytest.mark.parametrize("preset", ["csnln_tiny", "metardn_tiny", "panet_tiny"])
def test_networks_without_a_graph_for_all_sizes_are_refused(preset, tmp_path):
    with pytest.raises(PlanError, match="use torch") as error:
        export_web(create_model(preset), tmp_path / "model.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_halo_that_exceeds_a_tab_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(web_export, "MEMORY", 1 << 18)
    with pytest.raises(PlanError, match="halo of 8 px"):
        export_web(trained("edsr_tiny"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_halo_that_is_too_small_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(web_export, "TOLERANCE", 1e-6)
    monkeypatch.setattr(web_export.Program, "radius", lambda self: 2)
    monkeypatch.setattr(web_export, "_spec_radius", lambda model: 2)
    with pytest.raises(PlanError, match="halo of 2 px differs"):
        export_web(trained("edsr_tiny"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
