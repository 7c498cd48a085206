from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs.espcn import ESPCN
from hfsr.checkpoints import identify
from hfsr.errors import OptionsError

from .parity import shake

PARAMETERS = {
    "espcn_x2": 21_284,
    "espcn_x3": 22_729,
    "espcn_x4": 24_752,
    "espcn_tiny": 648,
}


@pytest.mark.parametrize("scale", [2, 3])
def test_by_hand(scale) -> None:
    model = ESPCN(num_feat=[6, 4], upscale=scale)
    shake(model)
    t, x = model.state_dict(), torch.rand(1, 3, 5, 4)
    features = F.conv2d(luma(x), t["first_part.0.weight"], t["first_part.0.bias"], padding=2).tanh()
    features = F.conv2d(features, t["first_part.2.weight"], t["first_part.2.bias"], padding=1).tanh()
    features = F.conv2d(features, t["last_part.0.weight"], t["last_part.0.bias"], padding=1)
    with torch.no_grad():
        y = luma(model(x))
    for row in range(scale):
        for column in range(scale):  # every channel is one sub-pixel of all px
            part = features[:, row * scale + column][:, None]
            torch.testing.assert_close(y[..., row::scale, column::scale], part, rtol=0, atol=1e-5)


def test_the_last_convolution_starts_small() -> None:
    model = ESPCN(upscale=3)
    assert 0.0009 < model.last_part[0].weight.std() < 0.0011
    assert model.first_part[0].weight.std() > 0.1


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_released_layout(scale) -> None:
    state = ESPCN(upscale=scale).state_dict()
    assert {key.rpartition(".")[0] for key in state} == {"first_part.0", "first_part.2", "last_part.0"}
    spec, arguments, _ = identify(state)
    assert (spec.cls, arguments) == (ESPCN, {"num_feat": [64, 32], "upscale": scale})


def test_no_relu_anywhere() -> None:
    kinds = {type(module) for module in ESPCN().modules()}
    assert nn.Tanh in kinds
    assert nn.ReLU not in kinds


def test_what_it_cannot_be() -> None:
    with pytest.raises(OptionsError, match="use 2, 3, 4 or 8"):
        ESPCN(upscale=5)
