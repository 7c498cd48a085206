from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr._compat import import_torchvision
from hfsr.archs.rrdbnet import RRDB, SPEC, ResidualDenseBlock, RRDBNet
from hfsr.checkpoints import identify, load_checkpoint, load_weights
from hfsr.errors import CheckpointError, OptionsError

from ..checkpoints.layouts import difference, fresh, old_esrgan
from .graphs import assert_radius
from .parity import assert_same_constructor, shake

PARAMETERS = {
    "rrdbnet_x1": 16_723_907,
    "rrdbnet_x2": 16_703_171,
    "rrdbnet_x4": 16_697_987,
    "rrdbnet_6b_x4": 4_467_779,
    "rrdbnet_16b_x4": 11_662_019,
    "rrdbnet_tiny": 14_083,
}

SIZE = {"num_feat": 8, "num_block": 2, "num_grow_ch": 32}  # spandrel knows no other growth
TO_RELEASED = (
    (r"^body\.(\d+)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2."),
    (r"^conv_body\.", "trunk_conv."),
    (r"^conv_up(\d)\.", r"upconv\1."),
    (r"^conv_hr\.", "HRconv."),
)
TO_OLDEST = (
    (r"^conv_first\.", "model.0."),
    (r"^body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0."),
    (r"^conv_body\.", f"model.1.sub.{SIZE['num_block']}."),
    (r"^conv_up1\.", "model.3."),
    (r"^conv_up2\.", "model.6."),
    (r"^conv_hr\.", "model.8."),
    (r"^conv_last\.", "model.10."),
)
LAYOUTS = {"basicsr": (), "released": TO_RELEASED, "oldest": TO_OLDEST}


def in_layout(state_dict: dict[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    for pattern, replacement in rules:
        state_dict = {re.sub(pattern, replacement, key): value for key, value in state_dict.items()}
    return state_dict


def random_network(scale: int) -> RRDBNet:
    model = RRDBNet(scale=scale, **SIZE)
    shake(model)
    return model.eval()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_parity_with_basicsr(basicsr_archs, scale: int) -> None:
    theirs = basicsr_archs.rrdbnet_arch.RRDBNet
    assert_same_constructor(RRDBNet, theirs)
    ours, other = random_network(scale), theirs(num_in_ch=3, num_out_ch=3, scale=scale, **SIZE)
    assert list(ours.state_dict()) == list(other.state_dict())
    other.load_state_dict(ours.state_dict(), strict=True)
    x = torch.rand(2, 3, 8, 12)  # theirs takes multiples of 4 only
    with torch.no_grad():
        expected = other(x)
        difference = (ours(x) - expected).abs().max()
    assert difference <= 1e-6 * (expected.max() - expected.min())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_layout_gives_the_image_of_spandrel(layout: str, scale: int) -> None:
    if find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed: it comes with hfsr[test]")
    import_torchvision()
    from spandrel import ModelLoader

    released = in_layout(random_network(scale).state_dict(), LAYOUTS[layout])
    theirs = ModelLoader().load_from_state_dict(dict(released)).model.eval()
    spec, arguments, renamed = identify(released)
    assert spec.cls is RRDBNet
    assert arguments == {"num_in_ch": 3, "num_out_ch": 3, "scale": scale, **SIZE}
    ours = RRDBNet(**arguments).eval()
    load_weights(ours, renamed, source=layout)
    x = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("extra", ["conv_up3.weight", "body.0.rdb1.conv1x1.weight"])
def test_relatives_are_not_mistaken_for_it(extra: str) -> None:
    with pytest.raises(CheckpointError, match="no registered network has"):
        identify({**random_network(4).state_dict(), extra: torch.zeros(4, 8, 3, 3)})


def test_a_dense_block_feeds_everything_forward() -> None:
    block = ResidualDenseBlock(8, 4)
    shake(block)
    x = torch.rand(1, 8, 6, 6)
    grown = [x]
    for i in range(1, 5):
        layer = getattr(block, f"conv{i}")
        grown.append(F.leaky_relu(F.conv2d(torch.cat(grown, 1), layer.weight, layer.bias, padding=1), 0.2))
    last = block.conv5(torch.cat(grown, 1))
    torch.testing.assert_close(block(x), 0.2 * last + x)


def test_both_residuals_are_scaled() -> None:
    block = RRDB(8, 4)
    shake(block)
    x = torch.rand(1, 8, 6, 6)
    torch.testing.assert_close(block(x), 0.2 * block.rdb3(block.rdb2(block.rdb1(x))) + x)


def test_dense_blocks_start_small_and_nothing_else_does() -> None:
    model = RRDBNet(num_block=1)
    for i, inputs in enumerate((64, 96, 128, 160, 192), start=1):
        convolution = getattr(model.body[0].rdb2, f"conv{i}")
        small = 0.1 * (2 / (9 * inputs)) ** 0.5
        assert convolution.weight.std().item() == pytest.approx(small, rel=0.1)
        assert not convolution.bias.any()
    assert model.conv_hr.weight.abs().max() > 0.03
    assert model.conv_hr.bias.any()


def test_no_skip_from_the_image() -> None:
    model = random_network(4)
    nn.init.zeros_(model.conv_last.weight)
    result = model(torch.rand(1, 3, 5, 7))
    assert torch.equal(result, model.conv_last.bias[None, :, None, None].expand_as(result))


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(6, 9), (1, 5), (3, 1)], ids=str)
def test_odd_sides_are_reflected_and_cropped(scale: int, size: tuple[int, int]) -> None:
    model, x = random_network(scale), torch.rand(1, 3, *size)
    padded = x
    for axis, side in enumerate(reversed(size)):
        extra = -side % model.size_multiple
        amount = [0, extra, 0, 0] if axis == 0 else [0, 0, 0, extra]
        padded = F.pad(padded, amount, "reflect" if extra < side else "replicate") if extra else padded
    with torch.no_grad():
        expected = model.core(padded)[..., : size[0] * scale, : size[1] * scale]
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize(("scale", "multiple"), [(1, 4), (2, 2), (4, 1)])
def test_radius_grows_by_fifteen_a_block(scale: int, multiple: int) -> None:
    assert SPEC.radius({"num_block": 23, "scale": scale}) == 349 * multiple
    assert SPEC.size_multiple({"scale": scale}) == multiple
    if scale == 4:
        assert_radius("rrdbnet_tiny", num_feat=4, num_grow_ch=2, num_block=2)


@pytest.mark.parametrize("scale", [0, 3, 8])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(OptionsError, match="use 1, 2 or 4"):
        RRDBNet(scale=scale)


def test_kair_has_no_index_in_the_fifth_convolution(tmp_path) -> None:
    model = fresh("RRDBNet", num_feat=16, num_block=1, num_grow_ch=8, scale=4)
    theirs = {key.replace("conv5.0.", "conv5."): t for key, t in old_esrgan(model.state_dict()).items()}
    torch.save(theirs, tmp_path / "rrdb_x4_psnr.pth")
    assert difference(load_checkpoint(tmp_path / "rrdb_x4_psnr.pth"), model) == 0
