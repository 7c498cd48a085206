from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hfsr.archs.rdn import RDN
from hfsr.checkpoints import identify, load_weights
from hfsr.errors import OptionsError

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    "rdn_x2": 22_123_395,
    "rdn_x3": 22_308_035,
    "rdn_x4": 22_271_107,
    "rdn_tiny": 7_971,
}

SIZE = {"num_feat": 6, "num_block": 2, "num_layer": 3, "num_grow_ch": 4}
MEAN = torch.tensor((0.4488, 0.4371, 0.4040))


def test_the_paper() -> None:
    """Dense layers fused by a 1x1 convolution; every block's output fused again, and a long skip."""
    model = RDN(**SIZE, upscale=3)
    shake(model)
    x = torch.rand(1, 3, 5, 7)
    shallow = model.SFENet1(255 * x)
    current, outputs = model.SFENet2(shallow), []
    for block in model.RDBs:
        grown = current
        for layer in block.convs:
            grown = torch.cat([grown, layer.conv[0](grown).relu()], 1)
        current = current + block.LFF(grown)
        outputs.append(current)
    fused = shallow + model.GFF[1](model.GFF[0](torch.cat(outputs, 1)))
    enlarged = F.pixel_shuffle(model.UPNet[0](fused), 3)
    torch.testing.assert_close(model(x), model.UPNet[2](enlarged) / 255)
    assert model.GFF[0].kernel_size == model.RDBs[0].LFF.kernel_size == (1, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("drift", [0, 0.02])
def test_the_port_with_mean_layers(scale: int, drift: float) -> None:
    plain = RDN(**SIZE, upscale=scale).eval()
    shake(plain)
    tensors = dict(plain.state_dict())
    layers = {}
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        layers[name] = (torch.eye(3) + drift * torch.randn(3, 3), sign * 255 * MEAN + drift * torch.randn(3))
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (
            layers[name][0][:, :, None, None],
            layers[name][1],
        )
    spec, arguments, renamed = identify(tensors)
    assert spec.cls is RDN
    ours = RDN(**arguments).eval()
    load_weights(ours, renamed, source="the port")
    assert ours.scale == scale
    if not drift:
        assert arguments["rgb_mean"] == pytest.approx(MEAN.tolist())

    def through(name: str, x: torch.Tensor) -> torch.Tensor:
        matrix, bias = layers[name]
        return torch.einsum("oi,bihw->bohw", matrix, x) + bias[:, None, None]

    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        expected = through("add_mean", plain.UPNet(plain.features(through("sub_mean", 255 * x)))) / 255
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)


def test_the_port_without_mean_layers_has_no_mean() -> None:
    model = RDN(**SIZE, upscale=2)
    assert "rgb_mean" not in identify(model.state_dict())[1]
    assert not model.shift.mean.any()


def test_radius_grows_with_blocks_and_layers() -> None:
    assert_radius("rdn_tiny", num_feat=2, num_grow_ch=2, num_block=3, num_layer=4, scale=4)


@pytest.mark.parametrize("scale", [1, 5, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 2, 3 or 4"):
        RDN(upscale=scale)
