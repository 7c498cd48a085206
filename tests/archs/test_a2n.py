"""The facts of A2N one by one; its released weights are not ours to keep in the repository."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs.a2n import A2N, AttentionInAttentionBlock, PixelAttention
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import CheckpointError, OptionsError
from hfsr.model_zoo import create_model

from .graphs import assert_radius, pools, trace

PARAMETERS = {
    "a2n_x2": 1_036_443,
    "a2n_x3": 1_036_443,
    "a2n_x4": 1_047_459,
    "a2n_m_x2": 831_643,
    "a2n_m_x3": 831_643,
    "a2n_m_x4": 842_659,
    "a2n_tiny": 24_947,
}


def seen_by(module: nn.Module, run) -> torch.Tensor:
    """What `module` is given while `run()` runs."""
    given = []
    handle = module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach().clone()))
    with torch.no_grad():
        run()
    handle.remove()
    return given[0]


def block_by_hand(block: AttentionInAttentionBlock, x: torch.Tensor, temperature: float) -> torch.Tensor:
    """The block's formula for one image, from its tensors."""
    t = block.state_dict()
    padding = t["non_attention.weight"].shape[-1] // 2
    entry = F.leaky_relu(F.conv2d(x, t["conv_first.weight"]), 0.2)
    means = entry[0].mean((1, 2))
    logits = t["ADM.2.weight"] @ (t["ADM.0.weight"] @ means).relu()
    exponentials = (logits / temperature).exp()
    attention_share, plain_share = exponentials / exponentials.sum()
    inner = F.leaky_relu(F.conv2d(entry, t["attention.k1.weight"], padding=1), 0.2)
    gate = F.conv2d(inner, t["attention.k2.weight"], t["attention.k2.bias"]).sigmoid()
    attended = F.conv2d(
        F.conv2d(entry, t["attention.k3.weight"], padding=1) * gate, t["attention.k4.weight"], padding=1
    )
    plain = F.conv2d(entry, t["non_attention.weight"], padding=padding)
    mixed = F.leaky_relu(attention_share * attended + plain_share * plain, 0.2)
    return x + F.conv2d(mixed, t["conv_last.weight"])


@pytest.mark.parametrize("kernel", [3, 1])
def test_block_by_hand_with_temperature_30(kernel: int) -> None:
    block = AttentionInAttentionBlock(8, kernel).double()
    with torch.no_grad():  # one of two opposite hidden units is awake whatever the image
        block.ADM[0].weight[1] = -block.ADM[0].weight[0]
        block.ADM[2].weight.copy_(torch.tensor([[20.0, 20.0], [-20.0, -20.0]]))
    x = torch.rand(1, 8, 6, 5, dtype=torch.float64) * 10
    with torch.no_grad():
        found = block(x)
    torch.testing.assert_close(found, block_by_hand(block, x, 30), rtol=0, atol=1e-9)
    assert (found - block_by_hand(block, x, 1)).abs().max() > 1e-2


def test_only_the_gate_has_a_bias() -> None:
    block = AttentionInAttentionBlock(8, 3)
    assert [key for key in block.state_dict() if key.endswith("bias")] == ["attention.k2.bias"]


def test_pixel_attention_by_hand() -> None:
    layer = PixelAttention(4)
    x = torch.randn(1, 4, 3, 3)
    gate = torch.einsum("oc,bchw->bohw", layer.conv.weight[:, :, 0, 0], x) + layer.conv.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(layer(x), x * gate.sigmoid())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_image_skip_is_bilinear(scale: int) -> None:
    model = create_model("a2n_tiny", scale=scale)
    nn.init.zeros_(model.conv_last.weight)
    nn.init.zeros_(model.conv_last.bias)
    x = torch.rand(1, 3, 5, 7)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_features_are_enlarged_by_nearest(scale: int) -> None:
    model = create_model("a2n_tiny", scale=scale)
    stage = 2 if scale == 4 else scale
    x = torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        shallow = model.conv_first(255 * x)
        trunk = model.trunk_conv(model.AAB_trunk(shallow)) + shallow
    enlarged = trunk.repeat_interleave(stage, 2).repeat_interleave(stage, 3)
    torch.testing.assert_close(seen_by(model.upconv1, lambda: model(x)), enlarged)
    if scale == 4:
        second = seen_by(model.upconv2, lambda: model(x))
        assert second.shape[2:] == (16, 20)
        assert torch.equal(second[..., ::2, ::2], second[..., 1::2, 1::2])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reconstruction_by_hand(scale: int) -> None:
    model = create_model("a2n_tiny", scale=scale).double()
    x = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    features = seen_by(model.att1, lambda: model(x))
    with torch.no_grad():
        features = F.leaky_relu(model.HRconv1(F.leaky_relu(model.att1(features), 0.2)), 0.2)
        if scale == 4:
            features = model.upconv2(features.repeat_interleave(2, 2).repeat_interleave(2, 3))
            features = F.leaky_relu(model.HRconv2(F.leaky_relu(model.att2(features), 0.2)), 0.2)
        skip = F.interpolate(255 * x, scale_factor=scale, mode="bilinear", align_corners=False)
        expected = (model.conv_last(features) + skip) / 255
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


def test_it_works_on_0_to_255_without_a_mean() -> None:
    model = create_model("a2n_tiny")
    x = torch.rand(1, 3, 4, 4)
    assert torch.equal(seen_by(model.conv_first, lambda: model(x)), 255 * x)


@pytest.mark.parametrize(
    ("preset", "tensors"), [("a2n_x2", 172), ("a2n_x3", 172), ("a2n_x4", 178), ("a2n_m_x2", 172)]
)
def test_released_key_layout(preset: str, tensors: int) -> None:
    with torch.device("meta"):
        state = create_model(preset).state_dict()
    block = [key.removeprefix("AAB_trunk.15.") for key in state if key.startswith("AAB_trunk.15.")]
    assert len(state) == tensors
    assert sorted(block) == [
        "ADM.0.weight",
        "ADM.2.weight",
        "attention.k1.weight",
        "attention.k2.bias",
        "attention.k2.weight",
        "attention.k3.weight",
        "attention.k4.weight",
        "conv_first.weight",
        "conv_last.weight",
        "non_attention.weight",
    ]
    assert state["AAB_trunk.0.ADM.0.weight"].shape == (10, 40)
    assert state["AAB_trunk.0.non_attention.weight"].shape[-1] == (1 if "_m_" in preset else 3)
    assert {key.split(".")[0] for key in state} - {"AAB_trunk"} == {
        "HRconv1",
        "att1",
        "conv_first",
        "conv_last",
        "trunk_conv",
        "upconv1",
        *(("HRconv2", "att2", "upconv2") if preset.endswith("x4") else ()),
    }


def test_one_pool_per_block() -> None:
    with torch.device("meta"):
        model = create_model("a2n_x2")
    assert len(pools(trace(model))) == 16


def test_scale_comes_from_the_caller_or_the_name_where_tensors_are_alike(tmp_path) -> None:
    model = create_model("a2n_tiny", scale=3)
    assert "upscale" not in identify(model.state_dict())[1]
    for name in ("a2n_x3_official.pt", "plain.pt"):
        torch.save(model.state_dict(), tmp_path / name)
    assert load_checkpoint(tmp_path / "a2n_x3_official.pt").scale == 3
    assert load_checkpoint(tmp_path / "plain.pt", scale=3).scale == 3
    with pytest.raises(CheckpointError, match="show the scale; state one of 2, 3, 4"):
        load_checkpoint(tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(tmp_path / "plain.pt", scale=4)


def test_radius_grows_with_depth() -> None:
    assert_radius("a2n_tiny", num_block=4, scale=3)


@pytest.mark.parametrize("wrong", [{"upscale": 8}, {"upscale": 1}, {"non_attention_kernel": 5}])
def test_other_arguments_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionsError):
        A2N(**wrong)
