"""A network of another package, described by an ArchSpec, trains, loads, tiles and is published like ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import hfsr
from hfsr.archs import ArchSpec
from hfsr.archs._spec import records_arguments
from hfsr.cli import main
from hfsr.errors import PlanError
from hfsr.registry import ARCHS

from .training.conftest import tiny_options, write_images


@records_arguments
class Stranger(nn.Module):
    """Two convolutions around a gate made from the whole image, and a pixel shuffle."""

    def __init__(self, *, width: int = 8, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.enter = nn.Conv2d(3, width, 5, padding=2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid())
        self.leave = nn.Sequential(nn.Conv2d(width, 3 * scale * scale, 3, padding=1), nn.PixelShuffle(scale))

    def core(self, x: Tensor) -> Tensor:
        features = self.enter(x)
        return self.leave(features * self.gate(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


@records_arguments
class Backwards(nn.Module):
    """The image turned around: no graph of known operators tells that."""

    def __init__(self, *, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(3, 3, 1)

    def core(self, x: Tensor) -> Tensor:
        return self.conv(x) + 0.01 * x.flip(3).mean()

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


def infer(state_dict: Mapping[str, Tensor]) -> dict[str, Any] | None:
    if "enter.weight" not in state_dict or "gate.1.weight" not in state_dict:
        return None
    scale = round((state_dict["leave.0.weight"].shape[0] / 3) ** 0.5)
    return {"width": state_dict["enter.weight"].shape[0], "scale": scale}


def spec(cls: type[nn.Module], **facts: Any) -> ArchSpec:
    name = cls.__name__
    return ArchSpec(
        name=name,
        cls=cls,
        title="A network of somebody else",
        paper="https://example.org",
        reference="https://example.org",
        license="MIT",
        scales=(1, 2, 3),
        presets={f"{name.lower()}_tiny": {}},
        **facts,
    )


@pytest.fixture(autouse=True)
def registered(monkeypatch) -> None:
    monkeypatch.setattr(ARCHS, "_items", dict(ARCHS._items))
    hfsr.register_arch(spec(Stranger, tiling="pooled", radius=lambda _: 3, infer=infer))


@pytest.fixture
def stranger() -> nn.Module:
    return hfsr.create_model("Stranger", scale=2).eval()


def uneven(height: int = 40, width: int = 52) -> Tensor:
    image = torch.rand(1, 3, height, width)
    image[..., : width // 2] *= 0.1
    return image


def test_it_trains_from_an_option_file_and_comes_back(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    options = tiny_options(write_images(tmp_path / "pictures"))
    options["network_g"] = {"type": "Stranger", "width": 6}
    (tmp_path / "own.yml").write_text(yaml.safe_dump(options))
    assert main(["train", "-opt", "own.yml"]) == 0
    model = hfsr.from_pretrained("experiments/tiny/models/net_g_latest.pth")
    assert (type(model), model.model_args) == (Stranger, {"width": 6, "scale": 2})


def test_it_loads_from_bare_tensors(tmp_path, stranger) -> None:
    torch.save({"params": stranger.state_dict()}, tmp_path / "net.pth")
    loaded = hfsr.from_pretrained(tmp_path / "net.pth")
    x = uneven()
    with torch.no_grad():
        assert torch.equal(loaded(x), stranger(x))


@pytest.mark.parametrize("tile", [8, 16])
def test_it_is_exact_in_pieces(stranger, tile: int) -> None:
    with torch.no_grad():
        stranger.gate[1].weight.mul_(30)
        x = uneven()
        whole = stranger(x)
        apart = torch.cat([stranger(x[..., :24]), stranger(x[..., 24:])], 3)
    assert (apart - whole).abs().max() > 1e-2
    found = hfsr.Upscaler(stranger, tile=tile, dtype="fp32").tensor(x)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_it_is_saved_told_and_published(tmp_path, stranger, capsys) -> None:
    hfsr.save_pretrained(stranger, tmp_path / "model")
    assert "Stranger" in (tmp_path / "model" / "README.md").read_text()
    assert type(hfsr.from_pretrained(tmp_path / "model")) is Stranger
    assert main(["info", str(tmp_path / "model")]) == 0
    assert main(["doctor", str(tmp_path / "model"), "--size", "40", "--tile", "16"]) == 0
    assert main(["push", str(tmp_path / "model"), "org/stranger", "--dry-run"]) == 0
    assert "org/stranger" in capsys.readouterr().out


def test_one_that_says_nothing_of_tiles_runs_in_windows() -> None:
    """ "traced": its graph is asked, and what that cannot tell runs in overlapping tiles that say so."""
    hfsr.register_arch(
        spec(Backwards, tiling="traced", window=24, overlap=8, radius=lambda _: 0, infer=lambda _: None)
    )
    model = hfsr.create_model("Backwards").eval()
    up = hfsr.Upscaler(model, tile=16)
    assert up.tensor(uneven()).shape == (1, 3, 40, 52)
    assert up.used_tile == "windowed:16"
    with pytest.raises(PlanError):
        hfsr.inference.program.tracing.trace(model)


def test_one_whose_graph_is_asked_can_be_exact(tmp_path: Path, stranger) -> None:
    ARCHS._items.pop("Stranger")
    hfsr.register_arch(spec(Stranger, tiling="traced", radius=lambda _: 0, infer=infer))
    x = uneven()
    up = hfsr.Upscaler(stranger, tile=16, dtype="fp32")
    with torch.no_grad():
        torch.testing.assert_close(up.tensor(x), stranger(x), rtol=0, atol=1e-5)
    assert up.used_tile == 16
