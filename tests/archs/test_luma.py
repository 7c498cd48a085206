"""Networks of luma inside the contract for RGB."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from hfsr.archs._luma import add_to_luma, has_one_channel, luma, with_luma
from hfsr.archs._resize import Bicubic
from hfsr.images.color import rgb_to_y
from hfsr.model_zoo import create_model, is_luma_network, presets

from .parity import shake

LUMA_NETWORKS = [
    f"{name}_tiny" for name in ("srcnn", "fsrcnn", "espcn", "vdsr", "drcn", "lapsrn", "mslapsrn")
]
every_luma_network = pytest.mark.parametrize("preset", LUMA_NETWORKS)


def chroma(rgb: torch.Tensor) -> torch.Tensor:
    """Cb and Cr as MATLAB's `rgb2ycbcr` makes them, less their 128."""
    matrix = torch.tensor([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    return torch.einsum("oc,bchw->bohw", matrix, rgb)


def shaken(preset: str, scale: int = 2) -> nn.Module:
    model = create_model(preset, scale=scale).eval()
    shake(model)
    return model


def test_luma_is_the_benchmarks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    ours = luma(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0, 0]
    np.testing.assert_allclose(255 * ours.numpy(), rgb_to_y(pixels), rtol=0, atol=1e-4)


def test_changing_the_luma_leaves_the_chroma() -> None:
    rgb, y = torch.rand(2, 3, 5, 7), torch.rand(2, 1, 5, 7)
    changed = with_luma(rgb, y)
    torch.testing.assert_close(luma(changed), y)
    torch.testing.assert_close(chroma(changed), chroma(rgb), rtol=0, atol=1e-6)
    torch.testing.assert_close(changed, add_to_luma(rgb, y - luma(rgb)))


@every_luma_network
@pytest.mark.parametrize("scale", [2, 3])
def test_gray_stays_gray(preset: str, scale: int) -> None:
    gray = torch.rand(1, 1, 6, 9).expand(1, 3, 6, 9)
    with torch.no_grad():
        result = shaken(preset, scale)(gray)
    assert (result - result.mean(1, keepdim=True)).abs().max() <= 1e-5
    assert result.std() > 1e-2


@every_luma_network
def test_chroma_is_bicubic_and_the_luma_depends_on_luma_alone(preset: str) -> None:
    model = shaken(preset)
    x = torch.rand(1, 3, 6, 9)
    with torch.no_grad():
        result, of_gray = model(x), model(with_luma(torch.zeros_like(x), luma(x)))
    torch.testing.assert_close(chroma(result), chroma(Bicubic(2)(x)), rtol=0, atol=1e-5)
    torch.testing.assert_close(luma(result), luma(of_gray), rtol=0, atol=1e-4)


# Networks for RGB that were built for one channel


ONE_CHANNEL = [
    f"{name}_tiny"
    for name in (
        *("a2n", "csnln", "dbpn", "edsr", "enhancenet", "mdsr", "mirnet"),
        *("msrresnet", "pa_edsr", "rcan", "rdn", "rrdbnet", "srresnet"),
    )
]


def one_channel(preset: str) -> nn.Module:
    parameters = inspect.signature(presets()[preset].cls).parameters
    wanted = {"num_in_ch": 1, "num_out_ch": 1, "rgb_mean": (0.4,), "img_range": 1.0}
    model = create_model(preset, **{name: value for name, value in wanted.items() if name in parameters})
    shake(model)
    return model.eval()


@pytest.mark.parametrize("preset", ONE_CHANNEL)
def test_a_network_of_one_channel_restores_the_luma(preset: str) -> None:
    model = one_channel(preset)
    x = torch.rand(2, 3, 24, 16)  # of a size that no network pads
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(luma(y), model(luma(x)), rtol=0, atol=1e-5)
        torch.testing.assert_close(chroma(y), chroma(model.enlarge_chroma(x)), rtol=0, atol=1e-5)


def test_one_channel_alone_is_restored_as_the_network_itself_does() -> None:
    model = one_channel("rrdbnet_tiny")
    gray = torch.rand(1, 1, 9, 7)
    x = model.conv_first(gray)
    with torch.no_grad():
        features = x + model.conv_body(model.body(x))
        for conv in (model.conv_up1, model.conv_up2):
            features = model.lrelu(conv(nn.functional.interpolate(features, scale_factor=2.0)))
        assert torch.equal(model(gray), model.conv_last(model.lrelu(model.conv_hr(features))))


def test_one_channel_adds_no_keys_and_is_remembered() -> None:
    model = one_channel("msrresnet_tiny")
    assert not any("enlarge" in key for key in model.state_dict())
    assert has_one_channel(model)
    assert not has_one_channel(create_model("msrresnet_tiny"))
    assert is_luma_network(model)
