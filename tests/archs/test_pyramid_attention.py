"""The facts of PyramidAttentionNet and PA-EDSR one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs import _pyramid
from hfsr.archs._attention import patch_attention
from hfsr.archs._pyramid import PyramidAttention, pyramid
from hfsr.archs.pa_edsr import PAEDSR
from hfsr.archs.pyramid_attention import PyramidAttentionNet
from hfsr.checkpoints import identify, load_weights
from hfsr.errors import CheckpointError, OptionsError
from hfsr.model_zoo import create_model

from .attention import Layers, gradients, largest_tensor, limit_blocks, plain_attention
from .graphs import assert_radius

PARAMETERS = {
    # Published with 24 numbers of the mean, which is no parameter here.
    "pa_edsr_x2": 40_811_870 - 24,
    "pa_edsr_x3": 43_762_270 - 24,
    "pa_edsr_x4": 43_172_190 - 24,
    "pa_edsr_tiny": 22_174,
    "panet_demosaic": 5_957_279 - 24,
    "panet_denoise": 5_957_279 - 24,
    "panet_jpeg": 5_954_973 - 24,
    "panet_tiny": 3_511,
}

SIZES = [(9, 7), (8, 6), (5, 4), (1, 8), (1, 1)]


def as_the_paper_writes_it(layers: Layers, name: str, x: Tensor, res_scale: float) -> Tensor:
    """Pyramid attention by its official names, for one image."""
    levels = [x]
    for scale in (0.9, 0.8, 0.7, 0.6):
        size = [max(1, math.floor(side * scale)) for side in x.shape[-2:]]
        levels.append(F.interpolate(x, size, mode="bicubic"))
    keys = [layers.embed(f"{name}.conv_match", level) for level in levels]
    values = [layers.embed(f"{name}.conv_assembly", level) for level in levels]
    pasted = plain_attention(layers.embed(f"{name}.conv_match_L_base", x), keys, values)
    return pasted / 4 + x * res_scale


class Official(Layers):
    """A network in its authors' layout, by its formulas."""

    def __init__(self, *, width: int, blocks: int, colors: int, reduction: int) -> None:
        super().__init__()
        self.middle = blocks // 2
        self.places = [i for i in range(blocks + 1) if i != self.middle]
        self.add("head.0", colors, width, 3)
        for i in self.places:
            self.add(f"body.{i}.body.0", width, width, 3)
            self.add(f"body.{i}.body.2", width, width, 3)
        attention = f"body.{self.middle}"
        self.add_embedding(f"{attention}.conv_match_L_base", width, width // reduction)
        self.add_embedding(f"{attention}.conv_match", width, width // reduction)
        self.add_embedding(f"{attention}.conv_assembly", width, width)
        self.tensors[f"{attention}.escape_NaN"] = torch.tensor([1e-4])
        self.add(f"body.{blocks + 1}", width, width, 3)
        self.last = f"body.{blocks + 1}"
        self.add_mean()

    def trunk(self, x: Tensor, block, res_scale: float) -> Tensor:
        shallow = self.conv("head.0", x)
        deep = shallow
        for i in range(len(self.places) + 1):
            if i == self.middle:
                deep = as_the_paper_writes_it(self, f"body.{i}", deep, res_scale)
            else:
                deep = deep + res_scale * self.conv(
                    f"body.{i}.body.2", block(i, self.conv(f"body.{i}.body.0", deep))
                )
        return shallow + self.conv(self.last, deep)


class OfficialPANet(Official):
    def __init__(self, colors: int = 3) -> None:
        super().__init__(width=6, blocks=4, colors=colors, reduction=2)
        self.add("tail.0", 6, colors, 3)
        slope = torch.rand(1)
        for i in self.places:
            self.tensors[f"body.{i}.body.1.weight"] = slope

    def __call__(self, x: Tensor) -> Tensor:
        return self.conv("tail.0", self.trunk(x, lambda i, y: self.prelu(f"body.{i}.body.1", y), 1))


class OfficialPAEDSR(Official):
    def __init__(self, scale: int, drift: float = 0.0) -> None:
        super().__init__(width=8, blocks=2, colors=3, reduction=4)
        self.stages = {2: (2,), 3: (3,), 4: (2, 2)}[scale]
        for i, stage in enumerate(self.stages):
            self.add(f"tail.0.{2 * i}", 8, 8 * stage**2, 3)
        self.add("tail.1", 8, 3, 3)
        self.add_mean(drift)
        for key in [key for key in self.tensors if key.startswith("body.1.")]:
            self.tensors[key.replace("body.1.", "msa.")] = self.tensors[key]

    def __call__(self, x: Tensor) -> Tensor:
        x = self.trunk(self.conv("sub_mean", x), lambda _, y: y.relu(), 0.1)
        for i, stage in enumerate(self.stages):
            x = F.pixel_shuffle(self.conv(f"tail.0.{2 * i}", x), stage)
        return self.conv("add_mean", self.conv("tail.1", x))


def converted(official: Official, cls: type[nn.Module]) -> nn.Module:
    spec, arguments, renamed = identify(official.tensors)
    assert spec.cls is cls
    model = cls(**arguments).eval()
    load_weights(model, renamed, source="the official layout")
    return model


def small_maps(
    dtype: torch.dtype, height: int = 9, width: int = 7
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    sizes = [(height, width), (max(1, height // 2), width - 1), (1, 3)]
    query = 0.3 * torch.randn(1, 3, height, width, dtype=dtype)
    keys, values = ([torch.randn(1, c, h, w, dtype=dtype) for h, w in sizes] for c in (3, 4))
    return query, keys, values


# The attention in blocks


@pytest.mark.parametrize("side", [None, 3, 4, 48])
@pytest.mark.parametrize("size", [(9, 7), (2, 8), (1, 2)], ids=str)
def test_blocks_are_the_plain_form(side: int | None, size: tuple[int, int], monkeypatch) -> None:
    limit_blocks(monkeypatch, side)
    query, keys, values = small_maps(torch.float32, *size)
    found = patch_attention(query, list(zip(keys, values, strict=True)), sharpness=10)
    torch.testing.assert_close(found, plain_attention(query, keys, values), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [None, 4, 48])
def test_gradients_of_blocks_are_the_plain_forms(side: int | None, monkeypatch) -> None:
    limit_blocks(monkeypatch, side)
    query, keys, values = small_maps(torch.float64)
    sources = [tensor.requires_grad_() for tensor in (query, *keys, *values)]
    pairs = list(zip(keys, values, strict=True))
    found = gradients(lambda: patch_attention(query, pairs, sharpness=10), sources)
    expected = gradients(lambda: plain_attention(query, keys, values), sources)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


def test_huge_scores_do_not_overflow() -> None:
    query, keys, values = small_maps(torch.float32)
    pairs = list(zip(keys, values, strict=True))
    found = patch_attention(1e4 * query, pairs, sharpness=10)
    assert found.isfinite().all()


def test_queries_are_not_normalized_and_keys_are() -> None:
    query, keys, values = small_maps(torch.float64)
    pairs = list(zip(keys, values, strict=True))
    plain = patch_attention(query, pairs, sharpness=10)
    torch.testing.assert_close(
        patch_attention(query, [(5 * key, value) for key, value in pairs], sharpness=10), plain
    )
    assert (patch_attention(5 * query, pairs, sharpness=10) - plain).abs().max() > 0.1


@pytest.mark.parametrize(("length", "shrinks"), [(1e-3, 1.0), (1e-5, 0.1)])
def test_a_key_is_divided_by_its_length_or_by_the_floor(length: float, shrinks: float) -> None:
    """Two candidates, far enough apart to share no patch: the scores are those of one key of known length."""
    keys = torch.zeros(1, 1, 1, 7, dtype=torch.float64)
    keys[..., 1] = length
    query = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    values = torch.zeros(1, 1, 1, 7, dtype=torch.float64)
    values[..., 1] = 1
    found = patch_attention(query, [(keys, values)], sharpness=1).item()
    # The value px 1 reaches the query's px from the patch that is centerd on it, alone.
    assert found == pytest.approx(math.exp(shrinks) / (math.exp(shrinks) + 6))


def test_half_precision_and_autocast_attend_in_single() -> None:
    query, keys, values = small_maps(torch.float32)
    pairs = list(zip(keys, values, strict=True))
    exact = patch_attention(query, pairs, sharpness=10)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(patch_attention(query, pairs, sharpness=10), exact)
    rounded = [(key.bfloat16(), value.bfloat16()) for key, value in pairs]
    low = patch_attention(query.bfloat16(), rounded, sharpness=10)
    assert low.dtype == torch.bfloat16
    single = patch_attention(
        query.bfloat16().float(), [(k.float(), v.float()) for k, v in rounded], sharpness=10
    )
    assert torch.equal(low, single.bfloat16())


@pytest.mark.parametrize("preset", ["panet_tiny", "pa_edsr_tiny"])
@pytest.mark.parametrize("gradients", [False, True])
def test_memory_grows_with_the_area_not_its_square(preset: str, gradients: bool, monkeypatch) -> None:
    limit_blocks(monkeypatch, 8)
    model = create_model(preset)
    small, large = (largest_tensor(model, side, gradients=gradients) for side in (12, 24))
    assert large <= 4 * small
    assert large < 24**4 // 8  # the plain form holds more than 24**4 scores


# The module and the networks


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pyramid_levels(size: tuple[int, int]) -> None:
    x = torch.rand(1, 2, *size)
    levels = list(pyramid(x))
    assert levels[0] is x
    for level, scale in zip(levels[1:], (0.9, 0.8, 0.7, 0.6), strict=True):
        assert level.shape[2:] == tuple(max(1, math.floor(side * scale)) for side in size)
        if min(size) > 1:
            # The step follows from the rounded size: PyTorch's own word for it.
            torch.testing.assert_close(
                level, F.interpolate(x, scale_factor=scale, mode="bicubic", recompute_scale_factor=True)
            )


def test_the_step_of_a_level_is_not_the_factor() -> None:
    x = torch.rand(1, 1, 9, 9)
    level = list(pyramid(x))[1]
    assert (level - F.interpolate(x, scale_factor=0.9, mode="bicubic")).abs().max() > 1e-2


def test_without_candidates_the_skip_remains() -> None:
    for res_scale in (1.0, 0.1):
        module = PyramidAttention(8, 2, res_scale)
        nn.init.zeros_(module.value[0].weight)
        nn.init.zeros_(module.value[0].bias)
        x = torch.rand(1, 8, 6, 5)
        with torch.no_grad():
            torch.testing.assert_close(module(x), res_scale * x)


def test_equal_candidates_add_up_to_nine_quarters() -> None:
    """All values 1: away from the border nine patches of ones overlap, and the sum is divided by 4."""
    module = PyramidAttention(4, 2, 0.0)
    with torch.no_grad():
        module.value[0].weight.zero_()
        module.value[0].bias.fill_(1)
        module.query[0].weight.zero_()
        module.query[0].bias.zero_()
        found = module(torch.rand(1, 4, 40, 40))[0, 0, 20, 20]
    # The patches on the border of a level, one in ten or so, have zeros in them.
    assert found == pytest.approx(9 / 4, rel=0.06)
    assert found < 9 / 4


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_official_panet_gives_the_same_images(size: tuple[int, int]) -> None:
    official = OfficialPANet()
    model = converted(official, PyramidAttentionNet)
    x = torch.rand(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x.float()).double(), official(x), rtol=0, atol=1e-5)


def test_official_luma_panet_changes_luma_only() -> None:
    official = OfficialPANet(colors=1)
    model = converted(official, PyramidAttentionNet)
    x = torch.rand(1, 3, 8, 7)
    matrix = (
        torch.tensor([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    )
    with torch.no_grad():
        before, after = (torch.einsum("yc,bchw->byhw", matrix, image) for image in (x, model(x)))
        expected = official(before[:, :1] + 16 / 255)
    torch.testing.assert_close(after[:, :1] + 16 / 255, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("drift", [0, 1e-2])
def test_official_paedsr_gives_the_same_images(scale: int, drift: float) -> None:
    official = OfficialPAEDSR(scale, drift)
    model = converted(official, PAEDSR)
    assert model.scale == scale
    for size in ((8, 7), (1, 1)):
        x = torch.rand(1, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(model(x.float()).double(), official(x), rtol=0, atol=1e-5)


def test_one_name_of_the_attention_is_enough() -> None:
    official = OfficialPAEDSR(2)
    for dropped in ("msa.", "body.1."):
        tensors = {key: t for key, t in official.tensors.items() if not key.startswith(dropped)}
        spec, arguments, renamed = identify(tensors)
        load_weights(spec.cls(**arguments), renamed, source="half of the layout")


@pytest.mark.parametrize(
    ("official", "key"),
    [
        (OfficialPANet(), "body.3.body.1.weight"),
        (OfficialPANet(), "body.2.escape_NaN"),
        (OfficialPAEDSR(2), "msa.conv_match.0.weight"),
    ],
    ids=["slope", "floor", "attention"],
)
def test_what_should_be_equal_and_is_not_is_never_dropped(official: Official, key: str) -> None:
    spec, arguments, renamed = identify({**official.tensors, key: official.tensors[key] + 1})
    with pytest.raises(CheckpointError, match="unexpected keys"):
        load_weights(spec.cls(**arguments), renamed, source="a doctored file")


def test_one_slope_serves_all_blocks() -> None:
    model = create_model("panet_denoise", num_block=4)
    slopes = [
        name for name, p in model.named_parameters() if p.numel() == 1 and not name.startswith("attention.")
    ]
    assert slopes == ["act.weight"]
    assert len(model.before) == len(model.after) == 2


def test_sizes_of_the_papers_networks() -> None:
    with torch.device("meta"):
        restorer, enlarger = create_model("panet_denoise"), create_model("pa_edsr_x2")
    assert restorer.attention.query[0].weight.shape == (32, 64, 1, 1)
    assert len(restorer.before) == len(restorer.after) == 40
    assert enlarger.attention.key[0].weight.shape == (32, 256, 1, 1)
    assert len(enlarger.before) == len(enlarger.after) == 16
    assert enlarger.attention.res_scale == enlarger.before[0].res_scale == 0.1
    assert enlarger.shift.img_range == 1
    assert restorer.attention.res_scale == 1


@pytest.mark.parametrize("preset", ["panet_tiny", "pa_edsr_tiny"])
def test_radius_of_the_convolutions(preset: str, monkeypatch) -> None:
    monkeypatch.setattr(_pyramid.PyramidAttention, "forward", lambda self, x: x)
    assert_radius(preset)
    assert_radius(preset, num_block=4)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (PyramidAttentionNet, {"num_in_ch": 2}),
        (PyramidAttentionNet, {"num_block": 3}),
        (PyramidAttentionNet, {"reduction": 65}),
        (PAEDSR, {"upscale": 8}),
        (PAEDSR, {"reduction": 0}),
        (PAEDSR, {"rgb_mean": (0.5,)}),
    ],
)
def test_other_arguments_are_refused(cls: type[nn.Module], wrong: dict) -> None:
    with pytest.raises(OptionsError):
        cls(**{"num_feat": 64, "num_block": 2, **wrong})
