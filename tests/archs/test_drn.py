"""The facts of DRN and its dual networks one by one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs.drn import DRN, DRNDual, radius_of
from hfsr.checkpoints import identify, load_checkpoint, load_weights
from hfsr.errors import OptionsError
from hfsr.model_zoo import build, create_model
from hfsr.registry import ARCHS

from .graphs import assert_radius, pools, trace
from .parity import shake

PARAMETERS = {
    "drn_s_x4": 4_804_065,
    "drn_s_x8": 5_403_000,
    "drn_l_x4": 9_825_893,
    "drn_l_x8": 10_004_018,
    "drn_tiny": 31_725,
}

MEAN = torch.tensor([0.4488, 0.4371, 0.4040])


def official_tensors(width: int, blocks: int, levels: int, *, drift: float) -> dict[str, Tensor]:
    """Random weights under the authors' keys; `drift` is how far training has moved the mean layers."""
    tensors: dict[str, Tensor] = {}

    def conv(name: str, inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> None:
        spread = (inputs * kernel * kernel) ** -0.5
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * spread
        if bias:
            tensors[f"{name}.bias"] = torch.randn(outputs) * spread

    for name, sign in (("sub_mean", -255), ("add_mean", 255)):
        tensors[f"{name}.weight"] = (torch.eye(3) + drift * torch.randn(3, 3))[..., None, None]
        tensors[f"{name}.bias"] = sign * (MEAN + drift * torch.randn(3))
    conv("head", 3, width)
    for p in range(levels):
        conv(f"down.{p}.dual_module.0.0", width * 2**p, width * 2**p, bias=False)
        conv(f"down.{p}.dual_module.1", width * 2**p, width * 2 ** (p + 1), bias=False)
    channels = width * 2**levels
    conv("tail.0", channels, 3)
    for k in range(levels):
        for b in range(blocks):
            conv(f"up_blocks.{k}.{b}.body.0", channels, channels)
            conv(f"up_blocks.{k}.{b}.body.2", channels, channels)
            conv(f"up_blocks.{k}.{b}.body.3.conv_du.0", channels, channels // 4, 1)
            conv(f"up_blocks.{k}.{b}.body.3.conv_du.2", channels // 4, channels, 1)
        half = width * 2 ** (levels - 1 - k)
        conv(f"up_blocks.{k}.{blocks}.0", channels, 4 * channels)
        conv(f"up_blocks.{k}.{blocks + 1}", channels, half, 1)
        channels = 2 * half
        conv(f"tail.{k + 1}", channels, 3)
    return tensors


def official_images(t: dict[str, Tensor], x: Tensor, blocks: int, levels: int) -> list[Tensor]:
    """The images of all scales, 0..255, from an LR image in 0..255, by the paper's figure."""

    def conv(name: str, y: Tensor, stride: int = 1) -> Tensor:
        weight = t[f"{name}.weight"].to(y)
        bias = t[f"{name}.bias"].to(y) if f"{name}.bias" in t else None
        return F.conv2d(y, weight, bias, stride, weight.shape[-1] // 2)

    def rcab(name: str, y: Tensor) -> Tensor:
        inner = conv(f"{name}.2", conv(f"{name}.0", y).relu())
        hidden = conv(f"{name}.3.conv_du.0", inner.mean((2, 3), keepdim=True)).relu()
        return y + inner * conv(f"{name}.3.conv_du.2", hidden).sigmoid()

    y = F.interpolate(x, scale_factor=2**levels, mode="bicubic", align_corners=False)
    skips = [conv("head", conv("sub_mean", y))]
    for p in range(levels):
        half = F.leaky_relu(conv(f"down.{p}.dual_module.0.0", skips[-1], 2), 0.2)
        skips.append(conv(f"down.{p}.dual_module.1", half))
    y = skips.pop()
    images = [conv("add_mean", conv("tail.0", y))]
    for k in range(levels):
        for b in range(blocks):
            y = rcab(f"up_blocks.{k}.{b}.body", y)
        y = F.pixel_shuffle(conv(f"up_blocks.{k}.{blocks}.0", y), 2)
        y = torch.cat([conv(f"up_blocks.{k}.{blocks + 1}", y), skips.pop()], 1)
        images.append(conv("add_mean", conv(f"tail.{k + 1}", y)))
    return images


@pytest.mark.parametrize(("levels", "drift"), [(1, 0), (2, 0), (2, 0.02), (3, 0.02)])
def test_official_layout_gives_the_images_of_every_scale(levels: int, drift: float) -> None:
    tensors = official_tensors(4, 2, levels, drift=drift)
    spec, arguments, renamed = identify(tensors)
    assert spec.cls is DRN
    size = {"num_feat": 4, "num_block": 2, "squeeze_factor": 4, "upscale": 2**levels}
    assert arguments == {**size, "img_range": 255.0}  # from the mean layers
    model = DRN(**arguments)
    load_weights(model, renamed, source="the official layout")
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    expected = official_images(tensors, 255 * x, 2, levels)
    with torch.no_grad():
        images = model.double().pyramid(x)
        assert torch.equal(model(x), images[-1])
    assert [image.shape[2:] for image in images] == [(5 * 2**p, 7 * 2**p) for p in range(levels + 1)]
    for image, other in zip(images, expected, strict=True):
        torch.testing.assert_close(image, other / 255, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("preset", "stages", "tails"),
    [
        ("drn_s_x4", [64, 64], [64, 64, 32]),
        ("drn_l_x4", [80, 80], [80, 80, 40]),
        ("drn_s_x8", [64, 64, 32], [64, 64, 32, 16]),
        ("drn_l_x8", [80, 80, 40], [80, 80, 40, 20]),
    ],
)
def test_widths_of_each_stage(preset: str, stages: list[int], tails: list[int]) -> None:
    with torch.device("meta"):
        model = create_model(preset)
    assert [blocks[0].body[0].in_channels for blocks in model.up_blocks] == stages
    assert [tail.in_channels for tail in model.tail] == tails
    assert len(pools(trace(model))) == len(stages) * model.model_args["num_block"]
    assert {tuple(block.body[3].conv_du[0].weight.shape[:2]) for block in model.up_blocks[0][:-2]} == {
        (stages[0] // 16, stages[0])
    }


def test_without_the_trained_mean_layers_24_numbers_fewer() -> None:
    with torch.device("meta"):
        model = create_model("drn_s_x4")
    layers = [p.numel() for name, p in model.named_parameters() if "_mean." in name]
    assert sum(layers) == 24
    assert sum(p.numel() for p in model.parameters()) - 24 == 4_804_041


def test_mean_layers_start_as_the_mean() -> None:
    model = create_model("drn_tiny")
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(model.sub_mean(255 * x), 255 * (x - MEAN.view(3, 1, 1)))
    torch.testing.assert_close(model.add_mean(model.sub_mean(x)), x, rtol=0, atol=1e-4)


def test_the_enlargement_is_bicubic_of_0_to_255_before_the_mean() -> None:
    model, seen = create_model("drn_tiny"), []
    model.sub_mean.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.rand(1, 3, 5, 6)
    model(x)
    assert torch.equal(seen[0], F.interpolate(255 * x, scale_factor=4, mode="bicubic", align_corners=False))


def test_the_smallest_image_is_made_before_any_block() -> None:
    model = create_model("drn_tiny")
    x = torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        before = model.pyramid(x)
        for parameter in model.up_blocks.parameters():
            parameter.zero_()
        after = model.pyramid(x)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_official_keys() -> None:
    with torch.device("meta"):
        ours = create_model("drn_s_x8").state_dict()
    official = official_tensors(8, 30, 3, drift=0)
    assert set(ours) == set(official)


def test_radius_of_the_published_sizes() -> None:
    found = [radius_of(*size) for size in ((4, 30), (8, 30), (4, 40), (8, 36))]
    assert found == [96, 112, 126, 133]  # DRN-S x4, DRN-S x8, DRN-L x4, DRN-L x8
    assert_radius("drn_tiny", num_feat=2, num_block=3, upscale=8)


@pytest.mark.parametrize("wrong", [{"upscale": 3}, {"upscale": 1}, {"num_feat": 4, "squeeze_factor": 17}])
def test_other_arguments_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionsError):
        DRN(num_block=1, **wrong)


# The dual networks


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("drn_dual_s_x4", 2 * 864),
        ("drn_dual_s_x8", 3 * 432),
        ("drn_dual_l_x4", 2 * 1080),
        ("drn_dual_l_x8", 3 * 540),
    ],
)
def test_dual_parameter_counts(preset: str, count: int) -> None:
    with torch.device("meta"):
        model = create_model(preset)
    assert sum(p.numel() for p in model.parameters()) == count
    assert all(sum(p.numel() for p in net.parameters()) * len(model.nets) == count for net in model.nets)
    assert all(module.bias is None for module in model.modules() if isinstance(module, nn.Conv2d))
    assert ARCHS["DRNDual"].role == "generator"


def test_one_dual_network_of_width_16() -> None:
    assert sum(p.numel() for p in DRNDual().parameters()) == 864


def test_dual_networks_halve_all_images_but_the_smallest() -> None:
    dual = create_model("drn_dual_tiny")
    pyramid = create_model("drn_tiny").pyramid(torch.rand(2, 3, 5, 7))
    halves = dual(pyramid)
    assert [half.shape for half in halves] == [image.shape for image in pyramid[:-1]]
    sum(half.sum() for half in halves).backward()
    assert all(p.grad is not None and p.grad.any() for p in dual.parameters())
    assert all(torch.equal(a, b) for a, b in zip(halves, dual(pyramid[1:]), strict=True))


def test_a_dual_network_by_hand() -> None:
    dual = DRNDual(num_feat=5).double()
    shake(dual)
    x = torch.rand(1, 3, 6, 8, dtype=torch.float64)
    first, last = dual.state_dict().values()
    expected = F.conv2d(F.leaky_relu(F.conv2d(x, first, stride=2, padding=1), 0.2), last, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(dual([x])[0], expected)
        torch.testing.assert_close(dual([255 * x])[0], 255 * expected)  # so its range does not matter


@pytest.mark.parametrize("nets", [1, 2, 3])
def test_released_dual_files_are_lists(tmp_path, nets: int) -> None:
    released = [
        {"dual_module.0.0.weight": torch.randn(6, 3, 3, 3), "dual_module.1.weight": torch.randn(3, 6, 3, 3)}
        for _ in range(nets)
    ]
    torch.save(released, tmp_path / "dual_model.pt")
    model = load_checkpoint(tmp_path / "dual_model.pt")
    assert type(model) is DRNDual
    assert model.model_args == {"num_feat": 6, "upscale": 2**nets}
    for net, tensors in zip(model.nets, released, strict=True):
        assert all(torch.equal(net.state_dict()[key], tensor) for key, tensor in tensors.items())


def test_one_dual_network_alone_is_read_too() -> None:
    single = {
        "dual_module.0.0.weight": torch.ones(6, 3, 3, 3),
        "dual_module.1.weight": torch.ones(3, 6, 3, 3),
    }
    spec, arguments, renamed = identify(single)
    assert (spec.cls, arguments) == (DRNDual, {"num_feat": 6, "upscale": 2})
    load_weights(DRNDual(**arguments), renamed, source="one of them")


def test_recorded_arguments_rebuild_the_dual_networks() -> None:
    dual = create_model("drn_dual_tiny")
    again = build("DRNDual", **json.loads(json.dumps(dual.model_args)))
    again.load_state_dict(dual.state_dict(), strict=True)
    assert identify(dual.state_dict())[1] == dual.model_args
