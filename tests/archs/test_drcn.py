from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs._resize import Bicubic
from hfsr.archs.drcn import DRCN
from hfsr.errors import OptionsError

from .parity import shake

PARAMETERS = {
    **{f"drcn_x{s}": 1_775_121 for s in (2, 3, 4)},
    "drcn_tiny": 1_908,
}


def small(recursions: int = 3, scale: int = 2) -> DRCN:
    model = DRCN(num_feat=5, num_recursion=recursions, upscale=scale)
    shake(model)
    return model


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_zero_weights_leave_the_bicubic_image(scale) -> None:
    model = DRCN(num_feat=4, num_recursion=4, upscale=scale)
    for parameter in model.reconstruction.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(model(x), Bicubic(scale)(x), rtol=0, atol=1e-6)


def test_by_hand() -> None:
    """The paper's sum of all predictions, each the input and what one recursion's state adds to it."""
    model = small()
    t, x = model.state_dict(), torch.rand(1, 3, 5, 4)

    def conv(name: str, features: torch.Tensor) -> torch.Tensor:
        return F.conv2d(features, t[f"{name}.weight"], t[f"{name}.bias"], padding=1)

    y = luma(Bicubic(2)(x))
    state = conv("embedding.2", conv("embedding.0", y).relu()).relu()
    predictions = []
    for _ in range(3):
        state = conv("recursion", state).relu()
        predictions.append(y + conv("reconstruction.2", conv("reconstruction.0", state).relu()))
    expected = sum(weight * found for weight, found in zip(t["weights"], predictions, strict=True))
    with torch.no_grad():
        torch.testing.assert_close(luma(model(x)), expected, rtol=0, atol=1e-5)
        *each, last = model.predictions(x)
        assert torch.equal(last, model(x))
    for found, prediction in zip(each, predictions, strict=True):
        torch.testing.assert_close(luma(found), prediction, rtol=0, atol=1e-5)


def test_one_convolution_is_shared_by_all_recursions() -> None:
    shapes = {key: value.shape for key, value in small(3).state_dict().items() if key != "weights"}
    assert shapes == {key: value.shape for key, value in small(9).state_dict().items() if key != "weights"}
    model, runs = small(4), []
    model.recursion.register_forward_hook(lambda *_: runs.append(1))
    model(torch.rand(1, 3, 4, 4))
    assert len(runs) == 4


def test_a_recursion_starts_as_the_identity_and_the_average_as_the_mean() -> None:
    model = DRCN()
    state = torch.rand(1, 256, 4, 4)
    torch.testing.assert_close(model.recursion(state), state)
    assert model.weights.tolist() == [1 / 16] * 16


def test_the_weights_of_the_average_are_learned() -> None:
    model = small()
    model(torch.rand(1, 3, 5, 5)).square().mean().backward()
    assert (model.weights.grad != 0).all()


@pytest.mark.parametrize("arguments", [{"upscale": 5}, {"num_recursion": 0}])
def test_what_it_cannot_be(arguments) -> None:
    with pytest.raises(OptionsError, match=r"use|at least"):
        DRCN(**arguments)
