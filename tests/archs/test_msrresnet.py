from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from hfsr.archs.msrresnet import MSRResNet
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import OptionsError
from hfsr.model_zoo import create_model
from hfsr.options import read_options
from hfsr.training.setup import build_network

from ..checkpoints.layouts import MMAGIC_MSRRESNET, difference, fresh, renamed
from .graphs import assert_radius
from .parity import assert_same_constructor, assert_same_function, shake

PARAMETERS = {
    "msrresnet_x2": 1_369_859,
    "msrresnet_x3": 1_554_499,
    "msrresnet_x4": 1_517_571,
    "mmagic_msrresnet_x2": 1_369_859,
    "mmagic_msrresnet_x3": 1_554_499,
    "mmagic_msrresnet_x4": 1_517_571,
    "msrresnet_tiny": 5_699,
}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parity_with_basicsr(basicsr_archs, scale: int) -> None:
    theirs = basicsr_archs.srresnet_arch.MSRResNet
    assert_same_constructor(MSRResNet, theirs, further=("upsample_activation",))
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


def test_mmagic_upsamples_without_activation() -> None:
    model = create_model("mmagic_msrresnet_x4", num_feat=8, num_block=2).eval()
    shake(model)
    other = MSRResNet(num_feat=8, num_block=2, upscale=4).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert not torch.allclose(model(x), other(x), atol=1e-3)
        features = other.body(F.leaky_relu(other.conv_first(x), 0.1))
        for conv in (other.upconv1, other.upconv2):
            features = other.pixel_shuffle(conv(features))
        residual = other.conv_last(F.leaky_relu(other.conv_hr(features), 0.1))
        enlarged = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(x), residual + enlarged, rtol=0, atol=1e-6)


def test_keys_of_mmagic() -> None:
    model = MSRResNet(num_feat=8, num_block=2, upscale=4, upsample_activation=False)
    tensors = renamed(model.state_dict(), MMAGIC_MSRRESNET)
    assert {"trunk_net.1.conv2.bias", "upsample2.upsample_conv.weight", "conv_hr.bias"} <= set(tensors)
    spec, arguments, ours = identify(tensors)
    assert spec.cls is MSRResNet
    assert arguments == model.model_args
    assert list(ours) == list(model.state_dict())


def test_radius_without_activation() -> None:
    assert_radius("mmagic_msrresnet_x3", num_feat=8, num_block=4)


def test_a_model_folder_of_version_0_2_loads(tmp_path) -> None:
    """Version 0.2 called the network MMagicMSRResNet, with mmagic's keys."""
    model = fresh("MSRResNet", num_feat=8, num_block=2, upscale=4, upsample_activation=False)
    arguments = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": 4}
    config = {"architecture": "MMagicMSRResNet", "model_args": arguments, "scale": 4, "library": "hfsr"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(renamed(model.state_dict(), MMAGIC_MSRRESNET), tmp_path / "model.safetensors")
    found = load_checkpoint(tmp_path)
    assert (type(found), found.model_args) == (MSRResNet, model.model_args)
    assert difference(found, model) == 0


def test_an_option_file_of_version_0_2_builds_the_same_network() -> None:
    options = read_options("options/msrresnet_x4.yml", ["network_g:type=MMagicMSRResNet"])
    with torch.device("meta"):
        network = build_network(options)
    assert (type(network), network.upsample_activation) == (MSRResNet, False)
