from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._resize import Bicubic
from hfsr.archs.enhancenet import EnhanceNet
from hfsr.errors import OptionsError

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    "enhancenet_x2": 815_939,
    "enhancenet_x4": 852_867,
    "enhancenet_tiny": 3_947,
}

MEAN = (0.47614917, 0.45001204, 0.40904046)


@pytest.mark.parametrize("scale", [2, 4])
def test_zero_weights_leave_the_bicubic_image(scale: int) -> None:
    model = EnhanceNet(num_feat=8, num_block=1, upscale=scale)
    nn.init.zeros_(model.conv_last.weight)
    nn.init.zeros_(model.conv_last.bias)
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(model(x), Bicubic(scale)(x))


def test_the_description() -> None:
    """No norm, no ReLU after a block's sum, no skip around the blocks; the mean is taken off first."""
    model = EnhanceNet(num_feat=6, num_block=2, upscale=4)
    shake(model)
    x = torch.rand(1, 3, 5, 7)
    features = model.conv_first(x - torch.tensor(MEAN)[:, None, None]).relu()
    for block in model.body:
        features = features + block.conv2(block.conv1(features).relu())
    for stage in model.upsample:
        features = stage.conv(F.interpolate(features, scale_factor=2, mode="nearest")).relu()
    residual = model.conv_last(model.conv_hr(features).relu())
    torch.testing.assert_close(model(x), residual + Bicubic(4)(x))


def test_radius_grows_with_depth() -> None:
    assert_radius("enhancenet_tiny", num_block=10, num_feat=2, scale=4)


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 2 or 4"):
        EnhanceNet(upscale=scale)
