"""The facts of CSNLN one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs import csnln
from hfsr.archs.csnln import CSNLN, CrossScaleAttention, InScaleAttention
from hfsr.checkpoints import identify, load_weights
from hfsr.errors import CheckpointError, OptionsError
from hfsr.model_zoo import create_model

from .attention import Layers, gradients, largest_tensor, limit_blocks, plain_attention
from .graphs import measured_radius

PARAMETERS = {
    # Published with 24 numbers of the mean, which is no parameter here.
    "csnln_x2": 3_061_289 - 24,
    "csnln_x3": 6_010_409 - 24,
    "csnln_x4": 6_568_627 - 24,
    "csnln_tiny": 12_545,
}

WIDTH = 6


class Official(Layers):
    """CSNLN in its authors' layout, by its formulas."""

    def __init__(self, scale: int, depth: int, drift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.depth = scale, depth
        self.factor = 3 if scale == 3 else 2
        self.kernel = 3 * self.factor
        self.add_mean(drift)
        self.add("head.0.0", 3, WIDTH, 3, slope="head.0.1")
        self.add("head.1.0", WIDTH, WIDTH, 3, slope="head.1.1")
        self.add_projection("SEM.multi_source_projection")
        self.add_both("SEM.down_sample_1", "SEM.error_encode", self.kernel)
        if scale == 4:
            self.add_projection("SEM.multi_source_projection_2")
            self.add_both("SEM.down_sample_3", "SEM.error_encode_2", 8)
            self.add("SEM.down_sample_4.0", WIDTH, WIDTH, 8, slope="SEM.down_sample_4.1")
        else:
            self.add("SEM.down_sample_2.0", WIDTH, WIDTH, self.kernel, slope="SEM.down_sample_2.1")
        self.add("SEM.post_conv.0", WIDTH, WIDTH, 3, slope="SEM.post_conv.1")
        self.add("tail.0", WIDTH * depth, 3, 3)

    def add_both(self, down: str, up: str, kernel: int) -> None:
        self.add(f"{down}.0", WIDTH, WIDTH, kernel, slope=f"{down}.1")
        self.add(f"{up}.0", WIDTH, WIDTH, kernel, slope=f"{up}.1", turned=True)

    def add_projection(self, name: str) -> None:
        for embedding in (
            "up_attention.conv_match_1",
            "up_attention.conv_match_2",
            "down_attention.conv_match1",
        ):
            self.add_embedding(f"{name}.{embedding}", WIDTH, WIDTH // 2)
        self.add_embedding(f"{name}.down_attention.conv_match2", WIDTH, WIDTH // 2)
        self.add_embedding(f"{name}.up_attention.conv_assembly", WIDTH, WIDTH)
        self.add_embedding(f"{name}.down_attention.conv_assembly", WIDTH, WIDTH)
        self.add(f"{name}.upsample.0", WIDTH, WIDTH, self.kernel, slope=f"{name}.upsample.1", turned=True)
        self.add(f"{name}.encoder.body.0", WIDTH, WIDTH, 3, slope=f"{name}.encoder.body.1")
        self.add(f"{name}.encoder.body.2", WIDTH, WIDTH, 3)
        self.tensors[f"{name}.up_attention.escape_NaN"] = torch.tensor([1e-4])

    def down(self, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        return self.prelu(f"{name}.1", self.conv(f"{name}.0", x, stride, padding))

    def up(self, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        return self.prelu(f"{name}.1", self.turned(f"{name}.0", x, stride, padding))

    def projection(self, name: str, x: Tensor) -> Tensor:
        f = self.factor
        local = self.up(f"{name}.upsample", self.in_scale(f"{name}.down_attention", x), f, f)
        error = self.cross_scale(f"{name}.up_attention", x) - local
        inner = self.prelu(f"{name}.encoder.body.1", self.conv(f"{name}.encoder.body.0", error))
        return local + error + self.conv(f"{name}.encoder.body.2", inner)

    def in_scale(self, name: str, x: Tensor) -> Tensor:
        query, key, value = (self.embed(f"{name}.{n}", x)[0].flatten(1) for n in self.names("conv_match{}"))
        return (value @ (query.T @ key).softmax(1).T).view(x.shape)

    def cross_scale(self, name: str, x: Tensor) -> Tensor:
        query, key, value = (f"{name}.{n}" for n in self.names("conv_match_{}"))
        reduced = F.interpolate(x, scale_factor=1 / self.factor, mode="bilinear")
        keys, values = self.embed(key, reduced), self.embed(value, x)
        return plain_attention(self.embed(query, x), [keys], [values], factor=self.factor) / 6

    @staticmethod
    def names(matching: str) -> tuple[str, str, str]:
        return matching.format(1), matching.format(2), "conv_assembly"

    def cell(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.factor
        estimate = self.projection("SEM.multi_source_projection", x)
        lost = x - self.down("SEM.down_sample_1", estimate, f, f)
        estimate = estimate + self.up("SEM.error_encode", lost, f, f)
        if self.scale == 4:
            estimate = self.projection("SEM.multi_source_projection_2", estimate)
            lost = x - self.down("SEM.down_sample_3", estimate, 4, 2)
            estimate = estimate + self.up("SEM.error_encode_2", lost, 4, 2)
            smaller = self.down("SEM.down_sample_4", estimate, 4, 2)
        else:
            smaller = self.down("SEM.down_sample_2", estimate, f, f)
        return estimate, self.down("SEM.post_conv", smaller, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        state = self.conv("sub_mean", x)
        for i in (0, 1):
            state = self.prelu(f"head.{i}.1", self.conv(f"head.{i}.0", state))
        estimates = []
        for _ in range(self.depth):
            estimate, state = self.cell(state)
            estimates.append(estimate)
        return self.conv("add_mean", self.conv("tail.0", torch.cat(estimates, 1)))


def converted(official: Official) -> nn.Module:
    spec, arguments, renamed = identify(official.tensors)
    assert spec.cls is CSNLN
    model = CSNLN(**arguments).eval()
    assert model.scale == official.scale
    load_weights(model, renamed, source="the official layout")
    return model


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("depth", "drift"), [(1, 0.0), (3, 1e-2)])
def test_official_csnln_gives_the_same_images(scale: int, depth: int, drift: float) -> None:
    official = Official(scale, depth, drift)
    model = converted(official)
    assert model.num_recurrence == depth
    x = torch.rand(1, 3, 12, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x.float()).double(), official(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "size", "padded"), [(2, (5, 8), (6, 8)), (3, (5, 7), (6, 9)), (4, (3, 1), (4, 2))]
)
def test_sides_are_mirrored_to_the_multiple_and_cropped(scale, size, padded) -> None:
    model = create_model("csnln_tiny", scale=scale)
    x = torch.rand(1, 3, *size)
    bottom, right = (p - s for p, s in zip(padded, size, strict=True))
    larger = F.pad(x, (0, 0, 0, bottom), mode="reflect")
    larger = F.pad(larger, (0, right, 0, 0), mode="reflect" if size[1] > 1 else "replicate")
    with torch.no_grad():
        expected = model.core(larger)[..., : size[0] * scale, : size[1] * scale]
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("side", [None, 2, 48])
def test_cross_scale_blocks_are_the_plain_form(factor: int, side: int | None, monkeypatch) -> None:
    limit_blocks(monkeypatch, side)
    module = CrossScaleAttention(4, factor).double()
    x = torch.randn(1, 4, 2 * factor, 3 * factor, dtype=torch.float64, requires_grad=True)
    sources = [x, *module.parameters()]

    def plain() -> Tensor:
        reduced = F.interpolate(x, scale_factor=1 / factor, mode="bilinear")
        return plain_attention(module.query(x), [module.key(reduced)], [module.value(x)], factor=factor) / 6

    torch.testing.assert_close(module(x), plain(), rtol=0, atol=1e-12)
    for ours, expected in zip(gradients(lambda: module(x), sources), gradients(plain, sources), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


def test_in_scale_attention_is_the_plain_softmax_without_a_factor() -> None:
    module = InScaleAttention(8).double()
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64, requires_grad=True)
    sources = [x, *module.parameters()]

    def plain() -> Tensor:
        query, key, value = (part(x).flatten(2) for part in (module.query, module.key, module.value))
        weights = torch.einsum("bcp,bcq->bpq", query, key).softmax(2)
        return torch.einsum("bpq,bcq->bcp", weights, value).view(x.shape)

    torch.testing.assert_close(module(x), plain(), rtol=0, atol=1e-12)
    for ours, expected in zip(gradients(lambda: module(x), sources), gradients(plain, sources), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("scale", [2, 4])
def test_memory_grows_with_the_area_not_its_square(scale: int, gradients: bool, monkeypatch) -> None:
    limit_blocks(monkeypatch, 8)
    model = create_model("csnln_tiny", scale=scale, num_recurrence=1)
    small, large = (largest_tensor(model, side, gradients=gradients) for side in (16, 32))
    assert large <= 4 * small
    assert large <= 32**4 // 8  # the plain in-scale attention holds 32**4 weights


def test_one_cell_is_applied_again_and_again(monkeypatch) -> None:
    deep, shallow = (create_model("csnln_tiny", num_recurrence=n) for n in (12, 1))
    cells = [sum(p.numel() for p in model.cell.parameters()) for model in (deep, shallow)]
    assert cells[0] == cells[1]
    applied = []
    deep.cell.stages[0].register_forward_hook(lambda *_: applied.append(None))
    with torch.no_grad():
        deep(torch.rand(1, 3, 4, 4))
    assert len(applied) == 12


def test_there_is_no_skip_from_the_image() -> None:
    model = create_model("csnln_tiny")
    nn.init.zeros_(model.conv_last.weight)
    nn.init.zeros_(model.conv_last.bias)
    with torch.no_grad():
        found = model(torch.rand(1, 3, 4, 4))
    torch.testing.assert_close(
        found, torch.tensor((0.4488, 0.4371, 0.4040)).view(1, 3, 1, 1).expand_as(found)
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_kernels_of_the_papers_network(scale: int) -> None:
    with torch.device("meta"):
        model = create_model(f"csnln_x{scale}")
    last = model.cell.stages[-1]
    kernel = {2: (6, 2, 2), 3: (9, 3, 3), 4: (8, 4, 2)}[scale]
    for conv in (last.down[0], last.up[0], model.cell.down[0]):
        assert (conv.kernel_size[0], conv.stride[0], conv.padding[0]) == kernel
    assert len(model.cell.stages) == (2 if scale == 4 else 1)
    assert model.conv_last.in_channels == 1536
    assert model.shift.img_range == 1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_radius_of_the_convolutions(scale: int, monkeypatch) -> None:
    monkeypatch.setattr(csnln.InScaleAttention, "forward", lambda self, x: x)
    monkeypatch.setattr(
        csnln.CrossScaleAttention, "forward", lambda self, x: F.interpolate(x, scale_factor=self.factor)
    )
    for depth in (1, 2):
        model = create_model("csnln_tiny", scale=scale, num_recurrence=depth)
        stated, multiple = csnln.SPEC.radius(model.model_args), csnln.SPEC.size_multiple(model.model_args)
        assert measured_radius(model, 2 * stated + 8, multiple) == stated


def test_a_floor_of_another_size_is_never_dropped() -> None:
    official = Official(2, 1)
    official.tensors["SEM.multi_source_projection.up_attention.escape_NaN"] *= 2
    spec, arguments, renamed = identify(official.tensors)
    with pytest.raises(CheckpointError, match="unexpected keys"):
        load_weights(spec.cls(**arguments), renamed, source="a doctored file")


@pytest.mark.parametrize("wrong", [{"upscale": 1}, {"upscale": 8}, {"rgb_mean": (0.5,)}])
def test_other_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(OptionsError):
        CSNLN(**{"num_feat": 8, **wrong})
