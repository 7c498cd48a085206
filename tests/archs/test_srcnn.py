from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs._resize import Bicubic
from hfsr.archs.srcnn import SRCNN
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import CheckpointError, OptionsError

from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    **{f"srcnn_915_x{s}": 8_129 for s in (2, 3, 4)},
    **{f"srcnn_935_x{s}": 24_513 for s in (2, 3, 4)},
    **{f"srcnn_955_x{s}": 57_281 for s in (2, 3, 4)},
    **{f"srcnn_rgb_915_x{s}": 20_099 for s in (2, 3, 4)},
    **{f"srcnn_rgb_935_x{s}": 36_483 for s in (2, 3, 4)},
    **{f"srcnn_rgb_955_x{s}": 69_251 for s in (2, 3, 4)},
    "srcnn_tiny": 1_049,
}


@pytest.mark.parametrize("colour", ["luma", "rgb"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_by_hand(colour, kernel) -> None:
    model = SRCNN(colour=colour, kernel_size=kernel, upscale=3)
    shake(model)
    t, x = model.state_dict(), torch.rand(1, 3, 5, 4)
    enlarged = Bicubic(3)(x)
    features = enlarged if colour == "rgb" else luma(enlarged)
    features = F.conv2d(features, t["conv1.weight"], t["conv1.bias"], padding=4).relu()
    features = F.conv2d(features, t["conv2.weight"], t["conv2.bias"], padding=kernel // 2).relu()
    expected = F.conv2d(features, t["conv3.weight"], t["conv3.bias"], padding=2)
    with torch.no_grad():
        found = model(x)
    torch.testing.assert_close(found if colour == "rgb" else luma(found), expected, rtol=0, atol=1e-5)


def test_it_starts_from_weights_of_a_thousandth() -> None:
    model = SRCNN()
    assert 0.0009 < model.conv2.weight.std() < 0.0011
    assert not any(conv.bias.any() for conv in (model.conv1, model.conv2, model.conv3))


@pytest.mark.parametrize("colour", ["luma", "rgb"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_kernel_and_colour_are_told_by_the_port_s_tensors(colour, kernel, tmp_path) -> None:
    model = SRCNN(colour=colour, kernel_size=kernel, num_feat=[64, 32], upscale=3)
    assert sorted(model.state_dict()) == [f"conv{i}.{t}" for i in (1, 2, 3) for t in ("bias", "weight")]
    spec, arguments, _ = identify(model.state_dict())
    assert spec.cls is SRCNN
    shown = {"colour": colour, "num_feat": [64, 32], "kernel_size": kernel}
    assert arguments == {**shown, "interpolation": "matlab"}
    torch.save(model.state_dict(), tmp_path / "srcnn_x3.pth")
    x = torch.rand(1, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(tmp_path / "srcnn_x3.pth")(x), model(x))


def test_the_scale_must_be_told(tmp_path) -> None:
    torch.save(SRCNN().state_dict(), tmp_path / "srcnn.pth")
    assert load_checkpoint(tmp_path / "srcnn.pth", scale=4).scale == 4
    with pytest.raises(CheckpointError, match="state one of 2, 3, 4, 8"):
        load_checkpoint(tmp_path / "srcnn.pth")


@pytest.mark.parametrize(("kernel", "hr_px"), [(1, 6), (3, 7), (5, 8)])
def test_radius_in_px_of_the_result(kernel, hr_px) -> None:
    """6 to 8 px at the enlarged size, and the two px of bicubic interpolation on top."""
    assert_radius("srcnn_tiny", kernel_size=kernel, scale=4)
    found = SRCNN(kernel_size=kernel)
    assert sum(conv.kernel_size[0] // 2 for conv in (found.conv1, found.conv2, found.conv3)) == hr_px


@pytest.mark.parametrize("arguments", [{"upscale": 5}, {"colour": "ycbcr"}, {"kernel_size": 2}])
def test_what_it_cannot_be(arguments) -> None:
    with pytest.raises(OptionsError, match=r"use|needs"):
        SRCNN(**arguments)


def test_mmagic_enlarges_by_the_bicubic_of_torch(tmp_path) -> None:
    model = SRCNN(colour="rgb", kernel_size=1, upscale=4)
    shake(model)
    keys = {f"generator.{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save({"state_dict": keys, "meta": {"mmagic_version": "1"}}, tmp_path / "srcnn_x4k915.pth")
    found, x = load_checkpoint(tmp_path / "srcnn_x4k915.pth"), torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        expected = model.restore(F.interpolate(x, scale_factor=4, mode="bicubic", align_corners=False))
        torch.testing.assert_close(found(x), expected, rtol=0, atol=1e-5)
        assert (found(x) - model(x)).abs().max() > 1e-3
    assert vars(found)["evidence"]["interpolation"] == "torch: the keys begin as MMagic writes them"


def test_unknown_interpolation() -> None:
    with pytest.raises(OptionsError, match="interpolation 'lanczos' is unknown: use matlab"):
        SRCNN(interpolation="lanczos")
