from __future__ import annotations

import pytest
import torch
from torch import nn

from hfsr.archs.srresnet import SRResNet
from hfsr.checkpoints import identify
from hfsr.errors import CheckpointError, OptionsError
from hfsr.model_zoo import create_model

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    "srresnet_x2": 1_401_749,
    "srresnet_x3": 1_586_389,
    "srresnet_x4": 1_549_462,
    "srresnet_tiny": 9_239,
}


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ({}, 1_549_462),
        ({"prelu_per_channel": True}, 1_550_659),
        ({"conv_bias": False}, 1_546_771),
        ({"prelu_per_channel": True, "conv_bias": False}, 1_547_968),
    ],
)
def test_what_the_figure_leaves_open(variant: dict[str, bool], count: int) -> None:
    with torch.device("meta"):
        model = create_model("srresnet_x4", **variant)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    arguments = identify(model.state_dict())[1]
    assert {name: arguments[name] for name in variant} == variant


def test_the_figure() -> None:
    """Long skip from behind the first PReLU to behind the last norm, [-1, 1] at the end, no tanh."""
    model = SRResNet(num_feat=6, num_block=2, upscale=4).eval()
    shake(model)
    x = torch.rand(1, 3, 7, 9)
    shallow = model.prelu_first(model.conv_first(x))
    features = shallow
    for block in model.body:
        inner = block.prelu(block.bn1(block.conv1(features)))
        features = features + block.bn2(block.conv2(inner))
    features = shallow + model.bn_mid(model.conv_mid(features))
    for stage in model.upsample:
        features = stage.prelu(nn.functional.pixel_shuffle(stage.conv(features), 2))
    torch.testing.assert_close(model(x), model.conv_last(features) / 2 + 0.5)
    assert model.conv_first.kernel_size == model.conv_last.kernel_size == (9, 9)


def test_it_is_normed_by_what_it_saw_in_training() -> None:
    model = SRResNet(num_feat=6, num_block=1, upscale=2)
    before = model.bn_mid.running_mean.clone()
    model(torch.rand(2, 3, 8, 8))
    assert not torch.equal(model.bn_mid.running_mean, before)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 3  # two in a block, one behind the body, none after it


def test_the_instance_norm_variant_is_not_mistaken_for_it() -> None:
    """pytorch-SRResNet's network is another one: `residual.i.in1`, LeakyReLU, upscale4x."""
    keys = ("conv_input", "residual.0.conv1", "conv_mid", "upscale4x.0", "conv_output")
    tensors = {f"{key}.weight": torch.zeros(64, 64, 3, 3) for key in keys}
    with pytest.raises(CheckpointError, match="no registered network has"):
        identify({**tensors, "residual.0.in1.weight": torch.zeros(64), "bn_mid.weight": torch.zeros(64)})


def test_radius_of_the_paper() -> None:
    assert_radius("srresnet_tiny", num_block=16, num_feat=2, scale=4)


@pytest.mark.parametrize("scale", [1, 5, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 2, 3 or 4"):
        SRResNet(upscale=scale)
