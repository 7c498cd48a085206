"""ncnn's files: what ncnn makes of them, and what is refused."""

from __future__ import annotations

import builtins
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hfsr
from hfsr._compat import import_torchvision
from hfsr.cli import main
from hfsr.errors import MissingDependencyError, OptionsError, PlanError
from hfsr.inference.conversion import ncnn_export
from hfsr.inference.conversion.ncnn_export import TOLERANCE, TOLERANCE_FP16, export_ncnn
from hfsr.model_zoo import create_model

needs_ncnn = pytest.mark.skipif(find_spec("ncnn") is None, reason="it comes with hfsr[ncnn]")
needs_spandrel = pytest.mark.skipif(find_spec("spandrel") is None, reason="it comes with hfsr[spandrel]")


def shaken(preset: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(preset, **arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model


def by_ncnn(path: Path, x: torch.Tensor) -> np.ndarray:
    import ncnn

    network = ncnn.Net()
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    assert network.load_param(str(path)) == 0
    assert network.load_model(str(path.with_suffix(".bin"))) == 0
    with network.create_extractor() as extractor:
        extractor.input("data", ncnn.Mat(x[0].contiguous().numpy()).clone())
        status, found = extractor.extract("output")
    assert status == 0
    return np.array(found)


EXPORTED = [
    ("edsr_tiny", {}),
    ("edsr_tiny", {"upscale": 4, "res_scale": 0.1}),
    ("edsr_tiny", {"upscale": 3, "img_range": 1.0}),
    ("msrresnet_tiny", {}),
    ("msrresnet_tiny", {"upscale": 4}),
    ("rrdbnet_tiny", {}),
    ("rdn_tiny", {}),
    ("mdsr_tiny", {}),
]


@needs_ncnn
@pytest.mark.parametrize(("preset", "arguments"), EXPORTED)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_ncnn_gives_what_torch_gives(preset: str, arguments: dict[str, Any], half: bool, tmp_path) -> None:
    model = shaken(preset, **arguments)
    found = export_ncnn(model, tmp_path / "model.param", half=half)
    assert found.fp32 <= TOLERANCE
    assert found.fp16 <= TOLERANCE_FP16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.param"]
    x = torch.rand(1, 3, 27, 31)
    with torch.no_grad():
        expected = model(x)[0].numpy()
    result = by_ncnn(tmp_path / "model.param", x)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= (TOLERANCE_FP16 if half else TOLERANCE)


@needs_ncnn
def test_weights_in_16_bit_take_half_the_room(tmp_path) -> None:
    model = shaken("msrresnet_tiny")
    export_ncnn(model, tmp_path / "full.param")
    export_ncnn(model, tmp_path / "half.param", half=True)
    full, half = ((tmp_path / f"{name}.bin").stat().st_size for name in ("full", "half"))
    assert half < 0.55 * full


@needs_ncnn
def test_feature_maps_stay_small_where_the_range_is_folded(tmp_path) -> None:
    """In 0..255 with large weights the feature maps of EDSR exceed what 16 bit can hold."""
    model = shaken("edsr_tiny")
    with torch.no_grad():
        model.conv_first.weight.mul_(2000)
        model.conv_last.weight.div_(2000)
    assert export_ncnn(model, tmp_path / "model.param").fp16 <= TOLERANCE_FP16


@needs_ncnn
@needs_spandrel
@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("Compact", {"num_feat": 8, "num_conv": 3, "upscale": 2}),
        ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2, "norm": False}),
        ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 4}),
    ],
)
def test_families_of_spandrel(family: str, arguments: dict[str, Any], tmp_path) -> None:
    import_torchvision()
    torch.manual_seed(0)
    net = getattr(importlib.import_module(f"spandrel.architectures.{family}"), family)(**arguments).eval()
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    model = hfsr.load_checkpoint(tmp_path / "net.pth")
    found = export_ncnn(model, tmp_path / "net.param")
    assert found.fp32 <= TOLERANCE
    x = torch.rand(1, 3, 21, 26)
    with torch.no_grad():
        expected = model(x)[0].numpy()
    spread = max(1.0, float(expected.max() - expected.min()))
    assert np.abs(by_ncnn(tmp_path / "net.param", x) - expected).max() <= TOLERANCE * spread


@needs_ncnn
@pytest.mark.parametrize(
    ("preset", "arguments", "reason"),
    [
        ("rcan_tiny", {}, "pools over the whole image"),
        ("panet_tiny", {}, "attends to the whole image"),
        ("metardn_tiny", {}, "its graph depends on the size"),
        ("fsrcnn_tiny", {}, "restores luma alone"),
        ("rrdbnet_tiny", {"scale": 2}, "only sizes that are multiples"),
        ("msrresnet_tiny", {"num_in_ch": 1, "num_out_ch": 1}, "restores luma alone"),
        ("srresnet_tiny", {}, "it has a layer BatchNorm2d"),
        ("dbpn_tiny", {}, "it has a layer ConvTranspose2d"),
    ],
)
def test_what_cannot_be_exported(preset: str, arguments: dict[str, Any], reason: str, tmp_path) -> None:
    with pytest.raises(PlanError, match=f"cannot be exported to ncnn: .*{reason}") as caught:
        export_ncnn(create_model(preset, **arguments).eval(), tmp_path / "model.param")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class InPlace(nn.Module):
    """Reads a feature map after a layer has written over it."""

    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.SiLU(inplace=True)

    def core(self, x: torch.Tensor) -> torch.Tensor:
        features = self.conv(x)
        activated = self.act(features)
        return activated * features + F.interpolate(x, scale_factor=1, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.core(x)


@needs_ncnn
def test_layers_that_write_in_place(tmp_path) -> None:
    torch.manual_seed(0)
    assert export_ncnn(InPlace().eval(), tmp_path / "model.param").fp32 <= TOLERANCE


@needs_ncnn
def test_a_network_that_differs_is_not_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ncnn_export, "_difference", lambda *_, **__: 0.5)
    with pytest.raises(PlanError, match=r"EDSR in ncnn, stored in 32 bit, differs from torch by 5\.0e-01"):
        export_ncnn(shaken("edsr_tiny"), tmp_path / "model.param")
    assert not list(tmp_path.iterdir())


@needs_ncnn
def test_the_command(tmp_path, capsys) -> None:
    assert main(["export", "hfsr-x2-small", str(tmp_path / "x2.param"), "--dtype", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "blob data" in out
    assert "blob output" in out
    assert (tmp_path / "x2.bin").stat().st_size < 900_000
    lines = (tmp_path / "x2.param").read_text().splitlines()
    assert lines[0] == "7767517"
    assert lines[1].split()[0] == str(len(lines) - 2)
    assert main(["export", "hfsr-x2-small", str(tmp_path / "x2.txt")]) == 2
    assert main(["export", "hfsr-x2-small", str(tmp_path / "x2.param"), "--dtype", "int8"]) == 2
    assert "--dtype int8 is for ONNX" in capsys.readouterr().err


def test_what_is_said_before_any_work(tmp_path, monkeypatch) -> None:
    with pytest.raises(OptionsError, match=r"must end in \.param"):
        export_ncnn(create_model("edsr_tiny"), tmp_path / "model.txt")
    with pytest.raises(OptionsError, match="DRNDual is a generator"):
        export_ncnn(create_model("drn_dual_tiny"), tmp_path / "model.param")
    real = builtins.__import__

    def without_ncnn(name, *args, **kwargs):
        if name == "ncnn":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ncnn)
    with pytest.raises(MissingDependencyError, match=r"exporting to ncnn needs ncnn.*\[ncnn\]"):
        export_ncnn(create_model("edsr_tiny"), tmp_path / "model.param")
