from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs._resize import Bicubic
from hfsr.archs.dbpn import DBPN, PROJECTIONS, SPEC, DownProjection, UpProjection
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import OptionsError
from hfsr.model_zoo import create_model

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    "dbpn_x2": 5_953_526,
    "dbpn_x4": 10_426_358,
    "dbpn_x8": 23_205_878,
    "dbpn_ll_x2": 8_811_086,
    "dbpn_ll_x4": 15_348_302,
    "dbpn_ll_x8": 34_026_062,
    "dbpn_mr_x2": 5_946_614,
    "dbpn_mr_x4": 10_419_446,
    "dbpn_mr_x8": 23_198_966,
    "dbpn_res_mr_x2": 5_946_614,
    "dbpn_res_mr_x4": 10_419_446,
    "dbpn_res_mr_x8": 23_198_966,
    "dbpn_s_x2": 341_518,
    "dbpn_s_x4": 599_566,
    "dbpn_s_x8": 1_336_846,
    "dbpn_tiny": 9_378,
}

every_scale = pytest.mark.parametrize("scale", [2, 4, 8])


class Reference:
    """The network from its tensors alone, by the formulas of the paper."""

    def __init__(self, model: DBPN) -> None:
        self.tensors = dict(model.state_dict())
        _, self.stride, self.padding = PROJECTIONS[model.scale]

    def conv(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        y = F.conv2d(
            x, self.tensors[f"{name}.conv.weight"], self.tensors[f"{name}.conv.bias"], stride, padding
        )
        slope = self.tensors.get(f"{name}.act.weight")
        return y if slope is None else F.prelu(y, slope)

    def reduce(self, name: str, x: Tensor) -> Tensor:
        return self.conv(name, x, stride=self.stride, padding=self.padding)

    def enlarge(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.deconv.weight"], self.tensors[f"{name}.deconv.bias"]
        y = F.conv_transpose2d(x, weight, bias, self.stride, self.padding)
        return F.prelu(y, self.tensors[f"{name}.act.weight"])

    def entry(self, name: str, x: Tensor) -> Tensor:
        return self.conv(f"{name}.conv", x) if f"{name}.conv.conv.weight" in self.tensors else x

    def up(self, name: str, x: Tensor) -> Tensor:
        x = self.entry(name, x)
        h0 = self.enlarge(f"{name}.up_conv1", x)
        error = self.reduce(f"{name}.up_conv2", h0) - x
        return h0 + self.enlarge(f"{name}.up_conv3", error)

    def down(self, name: str, x: Tensor) -> Tensor:
        x = self.entry(name, x)
        l0 = self.reduce(f"{name}.down_conv1", x)
        error = self.enlarge(f"{name}.down_conv2", l0) - x
        return l0 + self.reduce(f"{name}.down_conv3", error)


@every_scale
def test_a_unit_adds_the_error_of_coming_back(scale: int) -> None:
    model = DBPN(num_feat=6, num_base=4, num_stage=3, upscale=scale)
    shake(model)
    reference = Reference(model)
    low, lows = torch.rand(1, 4, 3, 5), torch.rand(1, 8, 3, 5)
    high = torch.rand(1, 4, 3 * scale, 5 * scale)
    torch.testing.assert_close(model.up1(low), reference.up("up1", low))
    torch.testing.assert_close(model.up3(lows), reference.up("up3", lows))
    torch.testing.assert_close(model.down1(high), reference.down("down1", high))


def test_every_unit_sees_all_maps_the_newest_first() -> None:
    model = DBPN(num_feat=6, num_base=4, num_stage=4, upscale=2)
    shake(model)
    reference, x = Reference(model), torch.rand(1, 3, 4, 5)
    features = reference.conv("feat1", reference.conv("feat0", x, padding=1))
    high, lows = reference.up("up1", features), []
    for n in range(1, 4):
        lows = [reference.down(f"down{n}", high), *lows]
        high = torch.cat([reference.up(f"up{n + 1}", torch.cat(lows, 1)), high], 1)
    torch.testing.assert_close(model(x), reference.conv("output_conv", high, padding=1))
    # From the third up unit and the second down unit on, the maps are first reduced to one.
    assert [type(getattr(model, f"up{n}").conv) is nn.Identity for n in range(1, 5)] == [
        True,
        True,
        False,
        False,
    ]
    assert [type(getattr(model, f"down{n}").conv) is nn.Identity for n in range(1, 4)] == [True, False, False]


def test_the_recurrent_form_goes_on_from_its_newest_lr_map() -> None:
    model = DBPN(num_feat=6, num_base=4, num_stage=3, num_pass=3, upscale=2)
    shake(model)
    x = torch.rand(1, 3, 4, 5)
    low, newest = model.feat1(model.feat0(x)), []
    for _ in range(3):
        h1 = model.up1(low)
        l1 = model.down1(h1)
        h2 = model.up2(l1)
        l2 = model.down2(torch.cat([h2, h1], 1))
        newest.append(model.up3(torch.cat([l2, l1], 1)))
        low = l2
    torch.testing.assert_close(model(x), model.output_conv(torch.cat(newest, 1)))


def test_the_residual_form_adds_the_bicubic_image() -> None:
    arguments = {"num_feat": 6, "num_base": 4, "num_stage": 2, "num_pass": 2, "upscale": 4}
    plain, residual = DBPN(**arguments), DBPN(**arguments, residual=True)
    residual.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(residual(x), plain(x) + Bicubic(4)(x))


@pytest.mark.parametrize("preset", ["dbpn_x8", "dbpn_ll_x4", "dbpn_res_mr_x2", "dbpn_s_x4"])
def test_released_files_are_told_apart(preset: str) -> None:
    with torch.device("meta"):
        model = create_model(preset)
    assert identify(model.state_dict())[1] == model.model_args


def test_released_files_come_from_data_parallel(tmp_path) -> None:
    model = create_model("dbpn_tiny").eval()
    torch.save(
        {f"module.{key}": value for key, value in model.state_dict().items()}, tmp_path / "DBPN_x2.pth"
    )
    x = torch.rand(1, 3, 4, 5)
    assert torch.equal(load_checkpoint(tmp_path / "DBPN_x2.pth")(x), model(x))


def test_it_starts_with_kaiming_weights_and_no_biases() -> None:
    model = DBPN(num_feat=32, num_base=16, num_stage=2, upscale=2)
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15)
        assert not layer.bias.any()


def test_radius_of_the_papers_networks() -> None:
    stages = {"num_stage": 7, "num_pass": 1}
    assert [SPEC.radius({**stages, "upscale": scale}) for scale in (2, 4, 8)] == [41, 21, 21]
    assert SPEC.radius({"num_stage": 10, "num_pass": 1, "upscale": 4}) == 30


@every_scale
def test_radius_grows_with_stages_and_passes(scale: int) -> None:
    assert_radius("dbpn_tiny", num_feat=2, num_base=2, num_stage=2, num_pass=2, scale=scale)


@every_scale
def test_the_geometry_of_each_scale(scale: int) -> None:
    low = torch.rand(1, 2, 3, 4)
    high = UpProjection(2, 1, PROJECTIONS[scale])(low)
    assert high.shape == (1, 2, 3 * scale, 4 * scale)
    assert DownProjection(2, 1, PROJECTIONS[scale])(high).shape == low.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"upscale": 3}, "use 2, 4 or 8"), ({"num_stage": 1}, "at least 2 stages"), ({"num_pass": 0}, "1 pass")],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        DBPN(**arguments)
