from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hfsr.archs import metardn
from hfsr.archs.metardn import MetaRDN, places
from hfsr.checkpoints import identify, load_checkpoint, save_checkpoint
from hfsr.errors import OptionsError
from hfsr.model_zoo import create_model

from .parity import shake

PARAMETERS = {
    "metardn_x2": 22_419_096,
    "metardn_x3": 22_419_096,
    "metardn_x4": 22_419_096,
    "metardn_tiny": 61_976,
}

SIZE = {"num_feat": 6, "num_block": 1, "num_layer": 2, "num_grow_ch": 4}
SCALES = [1.1, 1.5, 2, 2.37, 3, math.pi, 4]


@pytest.fixture
def model() -> MetaRDN:
    torch.manual_seed(0)
    return MetaRDN(**SIZE).eval()


def px_by_px(model: MetaRDN, features: Tensor, scale: float) -> Tensor:
    """The paper's formula, one output px after the other."""
    batch, channels, height, width = features.shape
    neighbors = F.unfold(features, 3, padding=1).view(batch, channels * 9, height, width)
    rows, columns = int(height * scale + 1e-6), int(width * scale + 1e-6)
    result = torch.empty(batch, 3, rows, columns)
    for i in range(rows):
        for j in range(columns):
            y, x = int(i / scale + 1e-6), int(j / scale + 1e-6)
            place = torch.tensor([1 / scale, max(i / scale - y, 0), max(j / scale - x, 0)])
            filters = model.P2W.meta_block(place).view(-1, 3)
            result[:, :, i, j] = neighbors[:, :, y, x] @ filters
    return result


@pytest.mark.parametrize("scale", SCALES)
def test_the_formula(model: MetaRDN, scale: float) -> None:
    x = torch.rand(2, 3, 4, 5)
    with torch.no_grad():
        expected = model.add_mean(px_by_px(model, model.features(model.sub_mean(255 * x)), scale)) / 255
        result = model(x, scale)
    assert result.shape == (2, 3, math.floor(4 * scale + 1e-6), math.floor(5 * scale + 1e-6))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1.1, 2, 2.5])
def test_a_scale_may_be_given_at_either_time(model: MetaRDN, scale: float) -> None:
    other = MetaRDN(**SIZE, upscale=scale).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(model(x, scale), other(x))
    assert other.scale == scale


def test_sizes_are_those_on_paper(model: MetaRDN) -> None:
    """100 * 1.15 is 114.99999999999999 in floating point."""
    assert model(torch.rand(1, 3, 100, 1), 1.15).shape == (1, 3, 115, 1)
    assert model(torch.rand(1, 3, 10, 3), 1.1).shape == (1, 3, 11, 3)


@pytest.mark.parametrize(("scale", "kinds"), [(1.1, 11), (1.5, 3), (2, 2), (2.5, 5), (3, 3), (4, 4)])
def test_equal_offsets_are_equal(scale: float, kinds: int) -> None:
    sources, offsets = places(0, 400, scale)
    assert len(offsets.unique()) == kinds
    assert ((offsets >= 0) & (offsets < 1)).all()
    torch.testing.assert_close(
        sources + offsets, torch.arange(400, dtype=torch.float64) / scale, rtol=0, atol=1e-6
    )


def test_weights_are_predicted_once_for_each_offset(model: MetaRDN, monkeypatch) -> None:
    asked = []
    filters = model.P2W.filters

    def counted(row: float, columns: Tensor, scale: float) -> Tensor:
        asked.append((row, columns.tolist()))
        return filters(row, columns, scale)

    monkeypatch.setattr(model.P2W, "filters", counted)
    model(torch.rand(1, 3, 20, 30), 1.5)
    rows = [0, 1 / 3, 2 / 3]
    assert [row for row, _ in asked] == pytest.approx(rows, abs=1e-6)
    assert all(columns == pytest.approx(rows, abs=1e-6) for _, columns in asked)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_at_a_whole_scale_a_shifted_image_is_the_shifted_result(model: MetaRDN, scale: int) -> None:
    x = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        whole, shifted = model(x, scale), model(x[..., 1:, 1:], scale)
    inside = slice(7 * scale, 12 * scale)
    moved = slice(6 * scale, 11 * scale)
    torch.testing.assert_close(shifted[..., moved, moved], whole[..., inside, inside])


def test_at_another_scale_the_place_matters(model: MetaRDN) -> None:
    """What tiling has to respect: a part by itself is not that part of the whole."""
    x = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        whole, part = model(x, 1.5), model(x[..., 1:, 1:], 1.5)
    assert (part[..., 8:16, 8:16] - whole[..., 9:17, 9:17]).abs().max() > 1e-2


def test_the_gathering_is_bounded(model: MetaRDN, monkeypatch) -> None:
    x = torch.rand(2, 3, 9, 8)
    with torch.no_grad():
        expected = model(x, 2.5)
        monkeypatch.setattr(metardn, "_GATHERED", 1)  # one row at a time
        torch.testing.assert_close(model(x, 2.5), expected)


def test_the_mean_layers_start_as_the_mean_and_are_trained(model: MetaRDN) -> None:
    mean = 255 * torch.tensor((0.4488, 0.4371, 0.4040))
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(model.sub_mean(x), x - mean[:, None, None])
    torch.testing.assert_close(model.add_mean(x), x + mean[:, None, None])
    assert all(p.requires_grad for p in (*model.sub_mean.parameters(), *model.add_mean.parameters()))


def test_released_tensors_load_at_any_scale(tmp_path) -> None:
    model = MetaRDN(**SIZE).eval()
    shake(model)
    torch.save(model.state_dict(), tmp_path / "model_1000.pt")
    assert "upscale" not in identify(model.state_dict())[1]
    x = torch.rand(1, 3, 5, 6)
    for scale in (1.5, 3):
        again = load_checkpoint(tmp_path / "model_1000.pt", scale=scale)
        assert again.scale == scale
        assert torch.equal(again(x), model(x, scale))
    assert load_checkpoint(tmp_path / "model_1000.pt").scale == 2


def test_a_saved_model_loads_at_another_scale(tmp_path) -> None:
    model = create_model("metardn_tiny", scale=1.7)
    save_checkpoint(model, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors").scale == 1.7
    again = load_checkpoint(tmp_path / "model.safetensors", scale=3)
    x = torch.rand(1, 3, 5, 6)
    assert torch.equal(again(x), model(x, 3))


@pytest.mark.parametrize("scale", [1, 1.05, 4.1, 8])
def test_other_scales_are_refused(model: MetaRDN, scale: float) -> None:
    with pytest.raises(OptionsError, match=r"use a number from 1\.1 to 4"):
        MetaRDN(**SIZE, upscale=scale)
    with pytest.raises(OptionsError, match=r"use a number from 1\.1 to 4"):
        model(torch.rand(1, 3, 4, 4), scale)
