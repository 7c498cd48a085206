from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs.msrresnet import MSRResNet
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import OptionsError

from ..checkpoints.layouts import difference, fresh, renamed
from .graphs import assert_radius
from .parity import assert_same_constructor, assert_same_function


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parity_with_basicsr(basicsr_archs, scale: int) -> None:
    theirs = basicsr_archs.srresnet_arch.MSRResNet
    assert_same_constructor(MSRResNet, theirs)
    size = {"num_feat": 12, "num_block": 3, "upscale": scale}
    assert_same_function(MSRResNet(**size), theirs(**size))


def test_parity_with_basicsr_s_forward_at_scale_1(basicsr_archs) -> None:
    theirs = basicsr_archs.srresnet_arch.MSRResNet(num_feat=12, num_block=3, upscale=2)
    # Its forward knows scale 1, but its constructor initializes an upconv1 that is missing there.
    del theirs.upconv1
    theirs.upscale = 1
    assert_same_function(MSRResNet(num_feat=12, num_block=3, upscale=1), theirs)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_zero_weights_leave_the_bilinear_image(scale: int) -> None:
    model = MSRResNet(num_feat=8, num_block=1, upscale=scale)
    nn.init.zeros_(model.conv_last.weight)
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(model(x), F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False))


def test_it_starts_small() -> None:
    model = MSRResNet(num_feat=64, num_block=1, upscale=4)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 7
    for convolution in convolutions:
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx(0.1 * (2 / fan_in) ** 0.5, rel=0.1)
        assert not convolution.bias.any()


def test_radius_grows_with_depth() -> None:
    assert_radius("msrresnet_tiny", num_block=4, scale=4)
    assert_radius("msrresnet_tiny", num_block=3, scale=1)


@pytest.mark.parametrize("scale", [0, 5, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 1, 2, 3 or 4"):
        MSRResNet(upscale=scale)


def test_kair_has_other_names_for_the_same_parts(tmp_path) -> None:
    model = fresh("MSRResNet", num_feat=16, num_block=2, upscale=4)
    theirs = renamed(model.state_dict(), [(r"^body\.", "recon_trunk."), (r"^conv_hr\.", "HRconv.")])
    torch.save(theirs, tmp_path / "msrresnet_x4_psnr.pth")
    assert difference(load_checkpoint(tmp_path / "msrresnet_x4_psnr.pth"), model) == 0
