from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs._resize import Bicubic
from hfsr.archs.vdsr import VDSR
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.errors import OptionsError
from hfsr.hub import from_pretrained

from .parity import shake

PARAMETERS = {
    **{f"vdsr_x{s}": 665_921 for s in (2, 3, 4)},
    "vdsr_tiny": 1_321,
}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_zero_weights_leave_the_bicubic_image(scale) -> None:
    model = VDSR(num_feat=4, num_block=1, upscale=scale)
    nn.init.zeros_(model.output.weight)
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        assert torch.equal(model(x), Bicubic(scale)(x))


def test_by_hand() -> None:
    model = VDSR(num_feat=5, num_block=2, upscale=2)
    shake(model)
    t, x = model.state_dict(), torch.rand(1, 3, 5, 4)
    y = luma(Bicubic(2)(x))
    features = y
    for name in ("input", "residual_layer.0.conv", "residual_layer.1.conv"):
        features = F.conv2d(features, t[f"{name}.weight"], t[f"{name}.bias"], padding=1).relu()
    expected = y + F.conv2d(features, t["output.weight"], t["output.bias"], padding=1)
    with torch.no_grad():
        torch.testing.assert_close(luma(model(x)), expected, rtol=0, atol=1e-5)


def test_twenty_convolutions_of_3x3() -> None:
    convolutions = [module for module in VDSR().modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20
    assert {conv.kernel_size for conv in convolutions} == {(3, 3)}


def test_one_set_of_weights_serves_every_scale(tmp_path) -> None:
    model = VDSR(num_feat=4, num_block=2, upscale=2).eval()
    shake(model)
    save_checkpoint(model, tmp_path / "vdsr.safetensors")
    torch.save(model.state_dict(), tmp_path / "vdsr.pth")
    x = torch.rand(1, 3, 4, 5)
    for name in ("vdsr.safetensors", "vdsr.pth"):
        for scale in (2, 3, 4):
            loaded = load_checkpoint(tmp_path / name, scale=scale)
            y = luma(Bicubic(scale)(x))
            features = loaded.output(loaded.residual_layer(model.relu(loaded.input(y))))
            with torch.no_grad():
                assert loaded.scale == scale
                torch.testing.assert_close(luma(loaded(x)), y + features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("parallel", [False, True])
def test_layout_of_the_port(tmp_path, parallel) -> None:
    model = VDSR(bias=False)
    state = model.state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 664_704
    assert sorted(state) == sorted(
        ["input.weight", "output.weight", *(f"residual_layer.{i}.conv.weight" for i in range(18))]
    )
    prefix = "module." if parallel else ""
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "model_epoch_50.pth")
    loaded = load_checkpoint(tmp_path / "model_epoch_50.pth", scale=3)
    assert loaded.model_args == {"num_feat": 64, "num_block": 18, "bias": False, "upscale": 3}


def test_layout_of_another_port() -> None:
    model = VDSR(num_feat=4, num_block=3, bias=False)
    theirs = {
        key.replace("input.", "conv1.0.").replace("residual_layer", "trunk").replace("output", "conv2"): value
        for key, value in model.state_dict().items()
    }
    spec, arguments, renamed = identify(theirs)
    assert (spec.cls, arguments) == (VDSR, {"num_feat": 4, "num_block": 3, "bias": False})
    assert all(torch.equal(renamed[key], value) for key, value in model.state_dict().items())


def test_weights_of_matlab(tmp_path) -> None:
    """`model.weight{i}` (height, width, inputs, outputs) and `model.bias{i}`, trailing axes of 1 dropped."""
    io = pytest.importorskip("scipy.io", reason="scipy comes with hfsr[train]")
    model = VDSR(upscale=3).eval()
    shake(model)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    order = [model.input, *(layer.conv for layer in model.residual_layer), model.output]
    assert set(order) == set(convs)
    weight, bias = np.empty((1, 20), object), np.empty((1, 20), object)
    for i, conv in enumerate(order):
        value = conv.weight.detach().numpy().transpose(2, 3, 1, 0)
        weight[0, i] = value[..., 0] if value.shape[3] == 1 else value
        bias[0, i] = conv.bias.detach().numpy()[:, None]
    io.savemat(tmp_path / "VDSR_Official.mat", {"model": {"weight": weight, "bias": bias}})
    x = torch.rand(1, 3, 5, 7)
    for loaded in (
        load_checkpoint(tmp_path / "VDSR_Official.mat", scale=3),
        from_pretrained(tmp_path / "VDSR_Official.mat", scale=3),
    ):
        with torch.no_grad():
            assert torch.equal(loaded(x), model(x))


def test_older_layout_of_the_port() -> None:
    model = VDSR(num_feat=4, num_block=3, bias=False)
    names = ["input", *(f"residual_layer.{i}.conv" for i in range(3)), "output"]
    state = {f"features.{2 * i}.weight": model.state_dict()[f"{name}.weight"] for i, name in enumerate(names)}
    spec, arguments, renamed = identify(state)
    assert (spec.cls, arguments) == (VDSR, {"num_feat": 4, "num_block": 3, "bias": False})
    assert all(torch.equal(renamed[key], value) for key, value in model.state_dict().items())


def test_what_it_cannot_be() -> None:
    with pytest.raises(OptionsError, match="use 2, 3, 4 or 8"):
        VDSR(upscale=1)
