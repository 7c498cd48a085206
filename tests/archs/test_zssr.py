from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._resize import Bicubic
from hfsr.archs.zssr import ZSSRNet
from hfsr.checkpoints import identify
from hfsr.errors import OptionsError

from .parity import shake

PARAMETERS = {
    **{f"zssr_x{s}": 224_640 for s in (2, 3, 4)},
    "zssr_tiny": 1_008,
}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_zero_weights_leave_the_bicubic_image(scale) -> None:
    model = ZSSRNet(num_feat=4, num_conv=3, upscale=scale)
    nn.init.zeros_(model.convs[-1].weight)
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        assert torch.equal(model(x), Bicubic(scale)(x))


def test_by_hand() -> None:
    model = ZSSRNet(num_feat=5, num_conv=4, upscale=2)
    shake(model)
    x = torch.rand(1, 3, 5, 4)
    enlarged = Bicubic(2)(x)
    features = enlarged
    for i in range(3):
        features = F.conv2d(features, model.convs[i].weight, padding=1).relu()
    expected = enlarged + F.conv2d(features, model.convs[3].weight, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)


def test_eight_convolutions_without_biases() -> None:
    model = ZSSRNet()
    assert len(model.convs) == 8
    assert list(model.state_dict()) == [f"convs.{i}.weight" for i in range(8)]
    assert identify(model.state_dict())[1] == {"num_feat": 64, "num_conv": 8}


def test_its_start() -> None:
    for conv in ZSSRNet().convs[:-1]:
        expected = (0.1 / conv.weight[0].numel()) ** 0.5
        assert abs(conv.weight.std() / expected - 1) < 0.1


def test_it_refines_images_of_any_size_and_ratio() -> None:
    """Gradual enlargement takes steps that are no whole numbers: the caller has interpolated by then."""
    model = ZSSRNet(num_feat=4, num_conv=2)
    image = torch.rand(1, 3, 9, 16)
    assert model.refine(image).shape == image.shape


@pytest.mark.parametrize("arguments", [{"upscale": 5}, {"num_conv": 1}])
def test_what_it_cannot_be(arguments) -> None:
    with pytest.raises(OptionsError, match=r"use|at least"):
        ZSSRNet(**arguments)
