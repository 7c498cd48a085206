from __future__ import annotations

import torch
from torch.nn import functional as F

from hfsr.archs.mmagic_msrresnet import MMagicMSRResNet
from hfsr.archs.msrresnet import MSRResNet
from hfsr.checkpoints import identify
from hfsr.model_zoo import create_model

from .graphs import assert_radius
from .parity import shake


def test_it_is_basicsr_s_network_but_for_the_activations_of_the_enlargement() -> None:
    model = create_model("mmagic_msrresnet_tiny", upscale=4).eval()
    shake(model)
    other = MSRResNet(num_feat=8, num_block=2, upscale=4).eval()
    names = {
        "trunk_net.": "body.",
        "upsample1.upsample_conv.": "upconv1.",
        "upsample2.upsample_conv.": "upconv2.",
    }
    tensors = {}
    for key, tensor in model.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        tensors[key] = tensor
    other.load_state_dict(tensors, strict=True)
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
    model = create_model("mmagic_msrresnet_tiny", upscale=4)
    keys = list(model.state_dict())
    assert {"trunk_net.1.conv2.bias", "upsample2.upsample_conv.weight", "conv_hr.bias"} <= set(keys)
    spec, arguments, _ = identify(model.state_dict())
    assert spec.cls is MMagicMSRResNet
    assert arguments == model.model_args


def test_radius_grows_with_depth() -> None:
    assert_radius("mmagic_msrresnet_tiny", num_block=4, scale=3)
