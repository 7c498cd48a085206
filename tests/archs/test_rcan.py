from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from hfsr._compat import import_torchvision
from hfsr.archs.rcan import RCAB, RCAN
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import OptionsError

from .graphs import assert_radius, pools, trace
from .parity import Official, assert_converts, assert_same_constructor, assert_same_function

PARAMETERS = {
    "rcan_x2": 15_444_643,
    "rcan_x3": 15_629_283,
    "rcan_x4": 15_592_355,
    "rcan_x8": 15_740_067,
    "rcan_tiny": 36_275,
}

MEAN = (0.4488, 0.4371, 0.4040)


class OfficialRCAN(Official):
    def __init__(self, groups: int, blocks: int, width: int, scale: int, **mean_layers) -> None:
        super().__init__(width, scale, **mean_layers)
        self.groups, self.blocks = groups, blocks
        for g in range(groups):
            for b in range(blocks):
                block = f"body.{g}.body.{b}.body"
                self.add(f"{block}.0", width, width)
                self.add(f"{block}.2", width, width)
                self.add(f"{block}.3.conv_du.0", width, width // 4, kernel=1)
                self.add(f"{block}.3.conv_du.2", width // 4, width, kernel=1)
            self.add(f"body.{g}.body.{blocks}", width, width)
        self.add(f"body.{groups}", width, width)

    def block(self, name, x):
        inner = self.conv(f"{name}.2", self.conv(f"{name}.0", x).relu())
        hidden = self.conv(f"{name}.3.conv_du.0", inner.mean((2, 3), keepdim=True)).relu()
        return x + inner * self.conv(f"{name}.3.conv_du.2", hidden).sigmoid()

    def __call__(self, x):
        head = features = self.conv("head.0", self.conv("sub_mean", x))
        for g in range(self.groups):
            entry = features
            for b in range(self.blocks):
                features = self.block(f"body.{g}.body.{b}.body", features)
            features = entry + self.conv(f"body.{g}.body.{self.blocks}", features)
        return self.conv("add_mean", self.tail(self.conv(f"body.{self.groups}", features) + head))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_parity_with_basicsr(basicsr_archs, scale: int) -> None:
    theirs = basicsr_archs.rcan_arch.RCAN
    assert_same_constructor(RCAN, theirs)
    size = {
        "num_feat": 12,
        "num_group": 2,
        "num_block": 3,
        "squeeze_factor": 4,
        "upscale": scale,
        "res_scale": 0.5,
    }
    assert_same_function(RCAN(**size), theirs(num_in_ch=3, num_out_ch=3, **size))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_official_layout(scale: int) -> None:
    official = OfficialRCAN(2, 3, 12, scale, mean=MEAN, drift=0)
    model = assert_converts(official, official, cls=RCAN)
    assert model.model_args["squeeze_factor"] == 4
    assert torch.equal(model.conv_first.weight, official.tensors["head.0.weight"])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("drift", [0, 0.02])
def test_official_layout_gives_the_image_of_spandrel(scale: int, drift: float, tmp_path) -> None:
    if find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed: it comes with hfsr[spandrel]")
    import_torchvision()
    from spandrel import ModelLoader

    official = OfficialRCAN(2, 3, 16, scale, mean=MEAN, drift=drift)
    torch.save(official.tensors, tmp_path / f"RCAN_BIX{scale}.pt")
    ours = load_checkpoint(tmp_path / f"RCAN_BIX{scale}.pt")
    theirs = ModelLoader().load_from_state_dict(dict(official.tensors)).model.eval()
    x = torch.rand(1, 3, 9, 14)
    with torch.no_grad():
        assert type(ours) is RCAN
        torch.testing.assert_close(ours(x), theirs(x.clone()), rtol=0, atol=1e-5)


def test_drifted_mean_layers_are_absorbed_exactly() -> None:
    official = OfficialRCAN(1, 2, 12, 2, mean=MEAN, drift=0.02)
    assert_converts(official, official, cls=RCAN)


def test_every_block_gates_by_the_whole_image() -> None:
    with torch.device("meta"):
        paper = RCAN(num_group=10, num_block=20)
    assert len(pools(trace(paper))) == 200


def test_a_closed_gate_leaves_the_input() -> None:
    block = RCAB(num_feat=8, squeeze_factor=4, res_scale=1)
    with torch.no_grad():
        block.rcab[3].attention[3].bias.fill_(-1e4)
    x = torch.rand(1, 8, 5, 5)
    assert torch.equal(block(x), x)


def test_radius_grows_with_groups_and_blocks() -> None:
    assert_radius("rcan_tiny", num_group=3, num_block=1, scale=3)


@pytest.mark.parametrize("factor", [0, 17])
def test_squeeze_that_leaves_no_channel_is_refused(factor: int) -> None:
    with pytest.raises(OptionsError, match=f"squeeze_factor {factor} is not between 1 and num_feat"):
        RCAN(num_feat=16, squeeze_factor=factor)
