from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from hfsr.archs import edsr as edsr_file
from hfsr.checkpoints import identify, load_checkpoint, load_weights
from hfsr.errors import UnknownNameError
from hfsr.model_zoo import create_model
from hfsr.registry import ARCHS


class TwoConvolutions(nn.Module):
    """Keys a and b, and a buffer that it makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3)
        self.b = nn.Conv2d(2, 1, 3)
        self.register_buffer("mean", torch.tensor([0.5]), persistent=False)


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def test_unknown_tensors(refused) -> None:
    with refused(r"no registered network has these tensors \(first_part\.0\.weight\); known are .*EDSR"):
        identify({"first_part.0.weight": torch.ones(3, 3)})


def test_unknown_tensors_name_the_file(tmp_path, refused) -> None:
    torch.save({"first_part.0.weight": torch.ones(3, 3)}, tmp_path / "net.pth")
    with refused(r"net\.pth': no registered network has these tensors"):
        load_checkpoint(tmp_path / "net.pth")


def test_two_networks_with_the_same_tensors(monkeypatch, tmp_path, refused, edsr) -> None:
    twin = dataclasses.replace(edsr_file.SPEC, name="Twin", presets={})
    monkeypatch.setitem(ARCHS._items, "Twin", twin)
    torch.save(edsr.state_dict(), tmp_path / "net.pth")
    with refused("these tensors fit EDSR, Twin: select one with arch"):
        load_checkpoint(tmp_path / "net.pth")
    assert type(load_checkpoint(tmp_path / "net.pth", arch="EDSR")) is type(edsr)


@pytest.mark.parametrize("name", list(ARCHS.own()))
def test_tensors_of_strange_shapes_are_nobody_s(name: str) -> None:
    """Right names are not enough, and nothing but an answer comes back."""
    [preset] = [preset for preset in ARCHS[name].presets if preset.endswith("_tiny")]
    keys = create_model(preset).state_dict()
    for shape in ((), (3,), (0, 0, 0, 0), (3, 3, 1)):
        assert ARCHS[name].infer({key: torch.zeros(shape) for key in keys}) is None


def test_asked_network_disagrees(tmp_path, refused, edsr) -> None:
    torch.save(edsr.state_dict(), tmp_path / "net.pth")
    with refused(r"net\.pth': these tensors are not those of RCAN"):
        load_checkpoint(tmp_path / "net.pth", arch="RCAN")
    with pytest.raises(UnknownNameError, match="did you mean 'EDSR'"):
        load_checkpoint(tmp_path / "net.pth", arch="EDRS")


def test_asked_scale_disagrees(tmp_path, refused, edsr) -> None:
    torch.save(edsr.state_dict(), tmp_path / "net.pth")
    assert load_checkpoint(tmp_path / "net.pth", scale=2).scale == 2
    with refused("enlarges by 2, not by 4"):
        load_checkpoint(tmp_path / "net.pth", scale=4)


def test_missing_and_unexpected_keys_are_named_and_counted(refused, edsr) -> None:
    state = snapshot(edsr)
    for i in range(2):
        for part in ("conv1", "conv2"):
            del state[f"body.{i}.{part}.weight"], state[f"body.{i}.{part}.bias"]
    state["extra.weight"] = torch.ones(1)
    before = snapshot(edsr)
    pattern = (
        r"^'net\.pth' does not fit this EDSR: "
        r"missing keys body\.0\.conv1\.weight, body\.0\.conv1\.bias, body\.0\.conv2\.weight, "
        r"body\.0\.conv2\.bias, body\.1\.conv1\.weight, \.\.\. \(8 in all\); "
        r"unexpected keys extra\.weight; check the network"
    )
    with refused(pattern):
        load_weights(edsr, state, source="'net.pth'")
    assert all(torch.equal(before[key], value) for key, value in edsr.state_dict().items())


def test_other_shapes_are_named_and_nothing_is_copied(refused) -> None:
    model = TwoConvolutions()
    before = snapshot(model)
    state = {key: tensor + 1 for key, tensor in before.items()}
    state["b.weight"] = torch.ones(1, 2, 5, 5)
    with refused(r"other shapes b\.weight: 1x2x5x5 for 1x2x3x3;"):
        load_weights(model, state, source="x")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_buffer_the_network_makes_itself_must_be_equal(refused) -> None:
    model = TwoConvolutions()
    state = snapshot(model)
    load_weights(model, {**state, "mean": torch.tensor([0.5], dtype=torch.float64)}, source="x")
    with refused("unexpected keys mean;"):
        load_weights(model, {**state, "mean": torch.tensor([0.4])}, source="x")


def test_weights_take_the_dtype_of_the_network() -> None:
    model = TwoConvolutions().double()
    state = {
        key: torch.full_like(tensor, 0.5, dtype=torch.float16) for key, tensor in snapshot(model).items()
    }
    load_weights(model, state, source="x")
    assert model.a.weight.dtype == torch.float64
    assert (model.a.weight == 0.5).all()
