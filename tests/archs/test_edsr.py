from __future__ import annotations

import pytest
import torch

from hfsr.archs.edsr import EDSR
from hfsr.checkpoints import identify, load_weights
from hfsr.errors import CheckpointError, OptionsError

from .graphs import assert_radius
from .parity import Official, assert_converts, assert_same_constructor, assert_same_function

PARAMETERS = {
    "edsr_baseline_x2": 1_369_859,
    "edsr_baseline_x3": 1_554_499,
    "edsr_baseline_x4": 1_517_571,
    "edsr_x2": 40_729_603,
    "edsr_x3": 43_680_003,
    "edsr_x4": 43_089_923,
    "edsr_tiny": 5_699,
}

MEAN = (0.4488, 0.4371, 0.4040)


class OfficialEDSR(Official):
    def __init__(self, blocks: int, width: int, scale: int, **mean_layers) -> None:
        super().__init__(width, scale, **mean_layers)
        self.blocks = blocks
        for i in range(blocks):
            self.add(f"body.{i}.body.0", width, width)
            self.add(f"body.{i}.body.2", width, width)
        self.add(f"body.{blocks}", width, width)

    def __call__(self, x):
        head = features = self.conv("head.0", self.conv("sub_mean", x))
        for i in range(self.blocks):
            inner = self.conv(f"body.{i}.body.0", features).relu()
            features = features + self.conv(f"body.{i}.body.2", inner)
        return self.conv("add_mean", self.tail(self.conv(f"body.{self.blocks}", features) + head))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("res_scale", [1, 0.1])
def test_parity_with_basicsr(basicsr_archs, scale: int, res_scale: float) -> None:
    theirs = basicsr_archs.edsr_arch.EDSR
    assert_same_constructor(EDSR, theirs)
    size = {"num_feat": 12, "num_block": 3, "upscale": scale, "res_scale": res_scale}
    assert_same_function(EDSR(**size), theirs(num_in_ch=3, num_out_ch=3, **size))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_official_layout(scale: int) -> None:
    official = OfficialEDSR(3, 12, scale, mean=MEAN, drift=0)
    model = assert_converts(official, official, cls=EDSR)
    # Nominal mean layers leave no trace: the released weights stay as they are, bit for bit.
    assert tuple(model.model_args["rgb_mean"]) == MEAN
    assert torch.equal(model.conv_first.weight, official.tensors["head.0.weight"])
    assert torch.equal(model.conv_last.bias, official.tensors["tail.1.bias"])


def test_drifted_mean_layers_are_absorbed_exactly() -> None:
    official = OfficialEDSR(2, 12, 2, mean=MEAN, drift=0.02)
    model = assert_converts(official, official, cls=EDSR)
    assert model.model_args["rgb_mean"] != MEAN


def test_another_mean_is_kept() -> None:
    other = (0.4690, 0.4490, 0.4036)
    official = OfficialEDSR(2, 12, 2, mean=other, drift=0)
    model = assert_converts(official, official, cls=EDSR)
    assert model.model_args["rgb_mean"] == pytest.approx(other, abs=1e-6)


def test_mean_layers_of_the_unit_range_tell_it() -> None:
    official = OfficialEDSR(2, 12, 2, mean=tuple(value / 255 for value in MEAN), drift=0)
    _, arguments, renamed = identify(official.tensors)
    assert arguments["img_range"] == 1
    assert arguments["rgb_mean"] == pytest.approx(MEAN, abs=1e-6)
    model = EDSR(**arguments).double()
    load_weights(model, renamed, source="the official layout")
    x = torch.rand(2, 3, 9, 14, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), official(x), rtol=0, atol=1e-5)


def test_mean_layers_of_no_range_are_refused() -> None:
    official = OfficialEDSR(2, 12, 2, mean=tuple(value / 25 for value in MEAN), drift=0)
    with pytest.raises(CheckpointError, match=r"subtracts .* no mean color in 0\.\.255 or 0\.\.1"):
        identify(official.tensors)


def test_mean_layers_that_cannot_be_inverted_are_refused() -> None:
    official = OfficialEDSR(2, 12, 2, mean=MEAN, drift=0)
    official.tensors["sub_mean.weight"].zero_()
    with pytest.raises(CheckpointError, match="cannot be inverted"):
        identify(official.tensors)


def test_released_recipe_decides_the_residual_scale() -> None:
    with torch.device("meta"):
        large, baseline = EDSR(num_feat=256, num_block=1), EDSR(num_feat=64, num_block=1)
    assert identify(large.state_dict())[1]["res_scale"] == 0.1
    assert identify(baseline.state_dict())[1]["res_scale"] == 1


def test_radius_grows_with_depth() -> None:
    assert_radius("edsr_tiny", num_block=5, scale=4)


def test_gray_images_take_one_mean() -> None:
    model = EDSR(num_in_ch=1, num_out_ch=1, num_feat=4, num_block=1, upscale=2, rgb_mean=[0.45])
    assert model(torch.rand(1, 1, 3, 4)).shape == (1, 1, 6, 8)
    with pytest.raises(OptionsError, match="rgb_mean has 3 values for 1 channels: give one per channel"):
        EDSR(num_in_ch=1, num_out_ch=1)


@pytest.mark.parametrize("scale", [0, 5, 6, -2])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match=f"scale {scale} is not supported: use 3 or a power of two"):
        EDSR(upscale=scale)
