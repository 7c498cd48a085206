"""The facts of MIRNet one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hfsr.archs import BlurPool
from hfsr.archs.mirnet import SPEC, MIRNet, Up
from hfsr.checkpoints import identify, load_checkpoint, load_weights
from hfsr.errors import CheckpointError, OptionsError
from hfsr.model_zoo import create_model

from .graphs import assert_radius, pools, trace
from .parity import shake

PARAMETERS = {
    "mirnet": 31_787_419,
    "mirnet_tiny": 333_392,
}

BINOMIAL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
SIZE = {"num_feat": 8, "num_rrg": 1, "num_msrb": 2}


class OfficialMIRNet:
    """Random weights under the authors' keys, and what their network computes from them.

    Args:
        shared: whether a stream's two DAUs hold the same tensors, and all DAUs one PReLU scalar.
    """

    def __init__(self, num_feat: int, num_rrg: int, num_msrb: int, *, shared: bool) -> None:
        self.t: dict[str, Tensor] = {}
        self.sizes = (num_rrg, num_msrb)
        self.widths = [num_feat, 2 * num_feat, 4 * num_feat]
        self.scalar = torch.tensor([0.1])
        self.add("conv_in", 3, num_feat)
        self.add("conv_out", num_feat, 3)
        for r in range(num_rrg):
            for m in range(num_msrb):
                self.add_block(f"body.{r}.body.{m}", shared)
            self.add(f"body.{r}.body.{num_msrb}", num_feat, num_feat)

    def add(self, name: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        spread = (inputs * kernel * kernel) ** -0.5
        self.t[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * spread

    def slope(self, name: str) -> None:
        self.t[f"{name}.weight"] = torch.rand(1)

    def add_block(self, block: str, shared: bool) -> None:
        for s, width in enumerate(self.widths):
            for column in range(2):
                self.add_dau(f"{block}.blocks.{s}.{column}", width, shared)
            if shared:
                first = f"{block}.blocks.{s}.0."
                for key in [key for key in self.t if key.startswith(first)]:
                    self.t[key.replace(first, f"{block}.blocks.{s}.1.")] = self.t[key]
            fusion = f"{block}.selective_kernel.{s}"
            self.add(f"{fusion}.conv_du.0", width, max(width // 8, 4), 1)
            self.slope(f"{fusion}.conv_du.1")
            for i in range(3):
                self.add(f"{fusion}.fcs.{i}", max(width // 8, 4), width, 1)
        a, b, c = self.widths
        for name, times, width in (("4", 2, a), ("2", 1, a), ("2", 1, b)):
            for j in range(times):
                self.add_down(f"{block}.down.{width}_{name}.body.{j}", width * 2**j)
        for name, times, width in (
            ("up", 2, c),
            ("up", 1, c),
            ("up", 1, b),
            ("last_up", 1, b),
            ("last_up", 2, c),
        ):
            key = f"{times}" if name == "last_up" else f"{width}_{2**times}"
            for j in range(times):
                self.add_up(f"{block}.{name}.{key}.body.{j}", width // 2**j)
        self.add(f"{block}.conv_out", a, a)

    def add_dau(self, dau: str, width: int, shared: bool) -> None:
        self.add(f"{dau}.body.0", width, width)
        self.t[f"{dau}.body.1.weight"] = self.scalar if shared else torch.rand(1)
        self.add(f"{dau}.body.2", width, width)
        self.add(f"{dau}.SA.spatial.conv", 2, 1, 5)
        self.add(f"{dau}.CA.conv_du.0", width, width // 8, 1)
        self.add(f"{dau}.CA.conv_du.2", width // 8, width, 1)
        self.add(f"{dau}.conv1x1", 2 * width, width, 1)

    def add_down(self, path: str, width: int) -> None:
        self.add(f"{path}.top.0", width, width, 1)
        self.slope(f"{path}.top.1")
        self.add(f"{path}.top.2", width, width)
        self.slope(f"{path}.top.3")
        self.add(f"{path}.top.5", width, 2 * width, 1)
        self.add(f"{path}.bot.1", width, 2 * width, 1)
        for filt in ("top.4", "bot.0"):
            self.t[f"{path}.{filt}.filt"] = BINOMIAL.expand(width, 1, 3, 3).clone()

    def add_up(self, path: str, width: int) -> None:
        self.add(f"{path}.top.0", width, width, 1)
        self.slope(f"{path}.top.1")
        self.add(f"{path}.top.2", width, width)
        self.slope(f"{path}.top.3")
        self.add(f"{path}.top.4", width, width // 2, 1)
        self.add(f"{path}.bot.1", width, width // 2, 1)

    # What it computes, in the dtype of the image

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight = self.t[f"{name}.weight"].to(x)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def prelu(self, name: str, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x * self.t[f"{name}.weight"].to(x))

    def blur(self, name: str, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.t[f"{name}.filt"].to(x), groups=x.shape[1])[..., ::2, ::2]

    def down(self, path: str, x: Tensor) -> Tensor:
        top = self.prelu(f"{path}.top.1", self.conv(f"{path}.top.0", x))
        top = self.prelu(f"{path}.top.3", self.conv(f"{path}.top.2", top))
        top = self.conv(f"{path}.top.5", self.blur(f"{path}.top.4", top))
        return top + self.conv(f"{path}.bot.1", self.blur(f"{path}.bot.0", x))

    def up(self, path: str, x: Tensor) -> Tensor:
        top = self.prelu(f"{path}.top.1", self.conv(f"{path}.top.0", x))
        weight = self.t[f"{path}.top.2.weight"].to(x)
        top = F.conv_transpose2d(top, weight, stride=2, padding=1, output_padding=1)
        top = self.conv(f"{path}.top.4", self.prelu(f"{path}.top.3", top))
        bottom = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return top + self.conv(f"{path}.bot.1", bottom)

    def path(self, kind: str, name: str, x: Tensor) -> Tensor:
        j = 0
        while f"{name}.body.{j}.bot.1.weight" in self.t:
            x = getattr(self, kind)(f"{name}.body.{j}", x)
            j += 1
        return x

    def dau(self, name: str, x: Tensor) -> Tensor:
        r = self.conv(f"{name}.body.2", self.prelu(f"{name}.body.1", self.conv(f"{name}.body.0", x)))
        gathered = torch.cat([r.max(1, keepdim=True).values, r.mean(1, keepdim=True)], 1)
        spatial = r * self.conv(f"{name}.SA.spatial.conv", gathered).sigmoid()
        hidden = self.conv(f"{name}.CA.conv_du.0", r.mean((2, 3), keepdim=True)).relu()
        channel = r * self.conv(f"{name}.CA.conv_du.2", hidden).sigmoid()
        return x + self.conv(f"{name}.conv1x1", torch.cat([spatial, channel], 1))

    def skff(self, name: str, streams: list[Tensor]) -> Tensor:
        stacked = torch.stack(streams, 1)  # (B, 3, C, H, W)
        z = self.prelu(f"{name}.conv_du.1", self.conv(f"{name}.conv_du.0", stacked.sum(1).mean((2, 3), True)))
        weights = torch.stack([self.conv(f"{name}.fcs.{i}", z) for i in range(3)], 1).softmax(1)
        return (stacked * weights).sum(1)

    def block(self, name: str, x: Tensor) -> Tensor:
        a, b, c = self.widths
        one = self.dau(f"{name}.blocks.0.0", x)
        two = self.dau(f"{name}.blocks.1.0", self.path("down", f"{name}.down.{a}_2", one))
        three = self.dau(f"{name}.blocks.2.0", self.path("down", f"{name}.down.{b}_2", two))
        up, down = f"{name}.up", f"{name}.down"
        fused = [
            [one, self.path("up", f"{up}.{b}_2", two), self.path("up", f"{up}.{c}_4", three)],
            [self.path("down", f"{down}.{a}_2", one), two, self.path("up", f"{up}.{c}_2", three)],
            [self.path("down", f"{down}.{a}_4", one), self.path("down", f"{down}.{b}_2", two), three],
        ]
        maps = [self.skff(f"{name}.selective_kernel.{s}", streams) for s, streams in enumerate(fused)]
        one, two, three = (self.dau(f"{name}.blocks.{s}.1", y) for s, y in enumerate(maps))
        full = [one, self.path("up", f"{name}.last_up.1", two), self.path("up", f"{name}.last_up.2", three)]
        return x + self.conv(f"{name}.conv_out", self.skff(f"{name}.selective_kernel.0", full))

    def __call__(self, x: Tensor) -> Tensor:
        features = self.conv("conv_in", x)
        num_rrg, num_msrb = self.sizes
        for r in range(num_rrg):
            entry = features
            for m in range(num_msrb):
                features = self.block(f"body.{r}.body.{m}", features)
            features = entry + self.conv(f"body.{r}.body.{num_msrb}", features)
        return x + self.conv("conv_out", features)


@pytest.mark.parametrize("shared", [True, False])
def test_official_layout(shared: bool, tmp_path) -> None:
    official = OfficialMIRNet(**SIZE, shared=shared)
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in official.t.items()}}
    torch.save({**wrapped, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "model_best.pth")
    model = load_checkpoint(tmp_path / "model_best.pth")
    assert type(model) is MIRNet
    assert model.model_args == {"num_in_ch": 3, **SIZE, "share_dau": shared}
    x = torch.rand(2, 3, 12, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model.double()(x), official(x), rtol=0, atol=1e-12)


def test_without_sharing_the_same_weights_give_the_same_image() -> None:
    official = OfficialMIRNet(**SIZE, shared=True)
    shared = build_from(official.t)
    own = MIRNet(**SIZE, share_dau=False)
    state = shared.state_dict()
    scalar = state.pop("activation.weight")
    for key in [key for key in own.state_dict() if key not in state]:
        state[key] = scalar if "activation" in key else state[key.replace(".second.", ".first.")]
    own.load_state_dict(state, strict=True)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(own(x), shared(x))


def build_from(tensors: dict[str, Tensor]) -> nn.Module:
    spec, arguments, renamed = identify(tensors)
    model = spec.cls(**arguments)
    load_weights(model, renamed, source="the official layout")
    return model


def test_797_keys_and_what_is_stored_in_them() -> None:
    official = OfficialMIRNet(64, 3, 2, shared=True)
    assert len(official.t) == 797
    assert sum(t.numel() for t in official.t.values()) == 42_280_770
    kernels = sum(t.numel() for key, t in official.t.items() if key.endswith(".filt"))
    assert kernels == 41_472
    with torch.device("meta"):
        unshared = create_model("mirnet", share_dau=False)
        shared = create_model("mirnet")
    assert sum(p.numel() for p in unshared.parameters()) == 42_280_770 - kernels == 42_239_298
    assert sum(p.numel() for p in shared.parameters()) == 31_787_419
    assert sum(t.numel() for t in shared.state_dict().values()) == 31_787_419  # no name stands twice


def test_no_module_has_a_second_name() -> None:
    model = create_model("mirnet_tiny")
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    assert len(names) == len(list(model.named_modules()))
    assert [name for name, _ in model.named_buffers() if name in model.state_dict()] == []
    assert not [module for module in model.modules() if getattr(module, "bias", None) is not None]


@pytest.mark.parametrize("share_dau", [True, False])
def test_which_places_one_dau_serves(share_dau: bool) -> None:
    model = create_model("mirnet_tiny", share_dau=share_dau)
    block, runs = model.body[0].body[0], []
    for s, dau in enumerate(block.first):
        dau.register_forward_hook(lambda _, given, result, s=s: runs.append(s))
    model(torch.rand(1, 3, 8, 8))
    assert runs == ([0, 1, 2, 0, 1, 2] if share_dau else [0, 1, 2])


def test_one_prelu_scalar_in_a_model_but_not_in_two() -> None:
    model, other = create_model("mirnet_tiny", num_rrg=2), create_model("mirnet_tiny")
    runs = []
    model.activation.register_forward_hook(lambda *_: runs.append(1))
    model(torch.rand(1, 3, 4, 4))
    assert len(runs) == 2 * 6  # two blocks of six DAUs
    assert model.activation.weight.numel() == 1
    assert model.activation is not other.activation


def test_stream_0s_fusion_serves_twice() -> None:
    block = create_model("mirnet_tiny").body[0].body[0]
    sizes = []
    for fusion in block.selective_kernel:
        fusion.register_forward_hook(lambda _, given, result: sizes.append(tuple(result.shape[1:])))
    block(torch.rand(1, 16, 8, 12), nn.PReLU())
    assert sizes == [(16, 8, 12), (32, 4, 6), (64, 2, 3), (16, 8, 12)]


def test_all_fusions_come_before_the_second_daus() -> None:
    block, order = create_model("mirnet_tiny").body[0].body[0], []
    for s in range(3):
        block.first[s].register_forward_hook(lambda *_, s=s: order.append(f"dau {s}"))
        block.selective_kernel[s].register_forward_hook(lambda *_, s=s: order.append(f"fusion {s}"))
    block(torch.rand(1, 16, 4, 4), nn.PReLU())
    daus, fusions = [f"dau {s}" for s in range(3)], [f"fusion {s}" for s in range(3)]
    assert order == [*daus, *fusions, *daus, "fusion 0"]


def test_a_block_whose_end_is_closed_leaves_its_input() -> None:
    model = create_model("mirnet_tiny")
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        model.conv_out.weight.zero_()
        assert torch.equal(model(x), x)
        features = torch.rand(1, 16, 8, 8)
        group, block = model.body[0], model.body[0].body[0]
        block.conv_out.weight.zero_()
        assert torch.equal(block(features, model.activation), features)
        group.conv.weight.zero_()
        assert torch.equal(group(features, model.activation), features)


def test_fusion_weighs_channel_by_channel_and_to_1() -> None:
    fusion = create_model("mirnet_tiny").body[0].body[0].selective_kernel[1].double()
    shake(fusion)
    stream = torch.rand(2, 32, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(fusion([stream, stream, stream]), stream)
    lone = fusion([stream, 0 * stream, 0 * stream]) / stream  # one weight per image and channel
    torch.testing.assert_close(lone, lone[..., :1, :1].expand_as(lone))
    assert lone.std(1).min() > 0
    assert fusion.conv_du[0].out_channels == max(32 // 8, 4)


def test_fusion_does_not_stack_the_streams() -> None:
    fusion = create_model("mirnet_tiny").body[0].body[0].selective_kernel[0]
    largest = []
    with torch.no_grad(), LargestResult(largest):
        fusion([torch.rand(1, 16, 32, 32) for _ in range(3)])
    assert max(largest) == 16 * 32 * 32


class LargestResult(TorchDispatchMode):
    """Notes how many numbers each operation returns."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.numbers.extend(t.numel() for t in (result,) if isinstance(t, Tensor))
        return result


def test_the_blur_is_binomial_and_reflects() -> None:
    x = torch.rand(2, 3, 6, 8, dtype=torch.float64)
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    full = sum(
        BINOMIAL[i, j].double() * padded[..., i : i + 6, j : j + 8] for i in range(3) for j in range(3)
    )
    torch.testing.assert_close(BlurPool().double()(x), full[..., ::2, ::2])
    assert BlurPool()(torch.rand(1, 1, 2, 2)).shape == (1, 1, 1, 1)


def test_1x1_convolutions_commute_with_the_bilinear_enlargement() -> None:
    up = Up(16).double()
    x = torch.rand(1, 16, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(up.bot(x), up.bot[0](up.bot[1](x)))


def test_pools_of_a_block() -> None:
    # Six DAUs have one each; four fusions pool each of three streams by itself.
    assert len(pools(trace(create_model("mirnet_tiny")))) == 6 + 4 * 3


def test_radius_is_56_px_a_block() -> None:
    assert_radius("mirnet_tiny", num_feat=8, num_msrb=2)
    assert SPEC.radius(SPEC.presets["mirnet"]) == 6 * 56 + 3 + 2 == 341


def test_sides_are_padded_to_4_by_reflection() -> None:
    model = create_model("mirnet_tiny")
    x = torch.rand(1, 3, 7, 9)
    padded = F.pad(x, (0, 3, 0, 1), mode="reflect")
    with torch.no_grad():
        assert torch.equal(model(x), model(padded)[..., :7, :9])


def test_another_blur_kernel_is_refused() -> None:
    tensors = OfficialMIRNet(**SIZE, shared=True).t
    key = next(key for key in tensors if key.endswith(".filt"))
    tensors[key] = tensors[key] * 1.1
    with pytest.raises(CheckpointError, match="blur kernel"):
        identify(tensors)


@pytest.mark.parametrize("width", [0, 12])
def test_other_widths_are_refused(width: int) -> None:
    with pytest.raises(OptionsError, match=f"num_feat {width} is not a multiple of 8"):
        MIRNet(num_feat=width)
