"""LapSRN and MS-LapSRN: the pyramid, the authors' MATLAB files and their arithmetic, the PyTorch port."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hfsr.archs._luma import luma
from hfsr.archs._resize import Bicubic
from hfsr.archs.lapsrn import LapSRN
from hfsr.archs.mslapsrn import MSLapSRN
from hfsr.checkpoints import identify, load_checkpoint
from hfsr.errors import CheckpointError, OptionsError
from hfsr.inference import Upscaler

from ..checkpoints.matlab import save_dagnn
from .graphs import assert_radius
from .parity import shake

PARAMETERS = {
    "lapsrn_x2": 407_441,
    "lapsrn_x3": 814_242,
    "lapsrn_x4": 814_242,
    "lapsrn_x8": 1_221_043,
    "lapsrn_tiny": 1_921,
    **{f"mslapsrn_d5r{r}_x{s}": 222_801 for r in (2, 5, 8) for s in (2, 3, 4, 8)},
    "mslapsrn_tiny": 1_921,
}

Maps = np.ndarray  # as MATLAB has them: height, width, channels


def shaken(cls: type[nn.Module], **arguments: object) -> nn.Module:
    model = cls(**arguments).eval()
    shake(model)
    return model


# --- the pyramid


@pytest.mark.parametrize("cls", [LapSRN, MSLapSRN])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_image_branch_starts_bilinear(cls, scale) -> None:
    """Where the zero padding of a transposed convolution does not reach."""
    model = cls(num_feat=4, num_conv=1, upscale=scale)
    for name, parameter in model.named_parameters():
        if "residual" in name:
            nn.init.zeros_(parameter)
    x = torch.rand(1, 3, 9, 8)
    expected = luma(x)
    for _ in range(scale.bit_length() - 1):
        expected = F.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=False)
    inside = slice(scale, -scale)
    with torch.no_grad():
        found = luma(model(x))
    torch.testing.assert_close(found[..., inside, inside], expected[..., inside, inside], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [LapSRN, MSLapSRN])
def test_the_first_convolution_starts_near_zero(cls) -> None:
    model = cls(upscale=2)
    assert 0.0008 < model.conv_first.weight.std() < 0.0012
    others = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.out_channels == 64]
    assert all(abs(m.weight.std() / (2 / 576) ** 0.5 - 1) < 0.05 for m in others if m.in_channels == 64)


@pytest.mark.parametrize("cls", [LapSRN, MSLapSRN])
@pytest.mark.parametrize(("scale", "sides"), [(2, [2]), (3, [2, 3]), (4, [2, 4]), (8, [2, 4, 8])])
def test_every_level_gives_a_image(cls, scale, sides) -> None:
    model, x = shaken(cls, num_feat=4, num_conv=1, upscale=scale), torch.rand(1, 3, 3, 5)
    with torch.no_grad():
        pyramid = model.pyramid(x)
        assert [tuple(image.shape) for image in pyramid] == [(1, 3, 3 * s, 5 * s) for s in sides]
        assert torch.equal(pyramid[-1], model(x))


@pytest.mark.parametrize("cls", [LapSRN, MSLapSRN])
def test_x3_is_x4_reduced(cls) -> None:
    three = shaken(cls, num_feat=4, num_conv=2, upscale=3)
    four = cls(num_feat=4, num_conv=2, upscale=4)
    four.load_state_dict(three.state_dict(), strict=True)
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(luma(three(x)), Bicubic(3, 4)(luma(four(x))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [8, 13])
def test_x3_runs_in_exact_pieces(tile) -> None:
    model, x = shaken(LapSRN, num_feat=4, num_conv=1, upscale=3), torch.rand(1, 3, 13, 27)
    with torch.no_grad():
        whole = model(x)
        pieces = Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(x)
    assert (pieces - whole).abs().max() <= 1e-5 * max(1, whole.abs().max())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_radius_of_the_port_s_kernel(scale) -> None:
    assert_radius("lapsrn_tiny", deconv_kernel=4, bias=False, scale=scale)


def test_radius_at_the_paper_s_depth() -> None:
    assert_radius("lapsrn_tiny", num_feat=2, num_conv=10, scale=4)


def test_ms_lapsrn_shares_its_weights() -> None:
    shapes = {key: value.shape for key, value in MSLapSRN(num_recursion=2, upscale=2).state_dict().items()}
    for arguments in ({"num_recursion": 8, "upscale": 8}, {"num_recursion": 5, "upscale": 3}):
        assert shapes == {key: value.shape for key, value in MSLapSRN(**arguments).state_dict().items()}


def test_ms_lapsrn_adds_the_level_s_input_after_every_recursion() -> None:
    model, x = shaken(MSLapSRN, num_feat=4, num_conv=2, num_recursion=3, upscale=2), torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        entry = model.conv_first(luma(x))
        state = entry
        for _ in range(3):
            for conv in (model.block[1], model.block[3]):
                state = conv(F.leaky_relu(state, 0.2))  # activation first
            state = state + entry
        features = model.up_features(F.leaky_relu(state, 0.2))
        expected = model.up_image(luma(x)) + model.residual(features)
        torch.testing.assert_close(luma(model(x)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("arguments", [{"upscale": 5}, {"deconv_kernel": 5}])
def test_what_it_cannot_be(arguments) -> None:
    with pytest.raises(OptionsError, match="use"):
        LapSRN(**arguments)
    with pytest.raises(OptionsError, match="use 2, 3, 4 or 8"):
        MSLapSRN(upscale=5)


# --- the authors' files, run by the formulas of MatConvNet's manual


def convolve(x: Maps, f: np.ndarray, b: np.ndarray) -> Maps:
    """vl_nnconv: y(i, j, k) = b(k) + sum f(u, v, d, k) x(i + u - pad, j + v - pad, d), one px of padding."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.zeros((height, width, f.shape[3])) + b.reshape(-1)
    for u in range(3):
        for v in range(3):
            y += padded[u : u + height, v : v + width] @ f[u, v]
    return y


def spread(x: Maps, f: np.ndarray, crop: tuple[int, int], b: np.ndarray | None = None) -> Maps:
    """vl_nnconvt, upsample 2: every x(i, j, d) adds f(u, v, k, d) to y(2 i + u, 2 j + v, k), then cropped."""
    height, width, _ = x.shape
    side = f.shape[0]
    y = np.zeros((2 * height + side - 2, 2 * width + side - 2, f.shape[2]))
    for u in range(side):
        for v in range(side):
            y[u : u + 2 * height : 2, v : v + 2 * width : 2] += x @ f[u, v].T
    before, after = crop
    y = y[before : y.shape[0] - after, before : y.shape[1] - after]
    return y if b is None else y + b.reshape(-1)


def leaky(x: Maps) -> Maps:
    return np.where(x > 0, x, 0.2 * x)


def random_parameters(names: list[str], width: int) -> dict[str, np.ndarray]:
    """Filters and biases as MATLAB keeps them: axes of length 1 at the end are dropped."""
    random = np.random.default_rng(0)
    values = {}
    for name in names:
        inputs = 1 if name.startswith("input") else width
        outputs = 1 if "residual" in name else width
        if name.endswith("img_up_f"):
            value = random.normal(0, 0.3, (4, 4))
        elif name.endswith("_f"):
            value = random.normal(0, (9 * inputs) ** -0.5, (3, 3, inputs, outputs))
            value = value[..., 0] if outputs == 1 else value
        else:
            value = random.normal(0, 0.1, (1, outputs))
        values[name] = value.astype(np.float32)
    return values


def four_axes(f: np.ndarray) -> np.ndarray:
    return f.reshape(*f.shape, *[1] * (4 - f.ndim))


def authors_lapsrn(p: dict[str, np.ndarray], y: Maps, levels: int, convs: int) -> Maps:
    features = leaky(convolve(y, p["input_conv_f"], p["input_conv_b"]))
    for level in range(levels, 0, -1):
        name = f"level{level}"
        for d in range(1, convs + 1):
            features = leaky(convolve(features, p[f"{name}_conv{d}_f"], p[f"{name}_conv{d}_b"]))
        features = leaky(spread(features, p[f"{name}_upconv_f"], (0, 1), p[f"{name}_upconv_b"]))
        residual = convolve(features, four_axes(p[f"{name}_residual_conv_f"]), p[f"{name}_residual_conv_b"])
        y = spread(y, four_axes(p[f"{name}_img_up_f"]), (1, 1)) + residual
    return y


def authors_mslapsrn(p: dict[str, np.ndarray], y: Maps, levels: int, convs: int, recursions: int) -> Maps:
    entry = convolve(y, p["input_conv_f"], p["input_conv_b"])
    for _ in range(levels):
        state = entry
        for _ in range(recursions):
            for d in range(1, convs + 1):
                state = convolve(leaky(state), p[f"conv{d}_f"], p[f"conv{d}_b"])
            state = state + entry
        entry = spread(leaky(state), p["upconv_f"], (0, 1), p["upconv_b"])
        residual = convolve(entry, four_axes(p["residual_conv_f"]), p["residual_conv_b"])
        y = spread(y, four_axes(p["img_up_f"]), (1, 1)) + residual
    return y


def assert_same(model: nn.Module, authors: Callable[[Maps], Maps]) -> None:
    x = torch.rand(1, 3, 5, 4)
    with torch.no_grad():
        found = luma(model(x))[0, 0].numpy()
    np.testing.assert_allclose(found, authors(luma(x)[0, 0].double().numpy()[..., None])[..., 0], atol=1e-4)


def test_the_authors_lapsrn(tmp_path) -> None:
    levels, convs, width = 2, 3, 4
    layers = [("input_conv", ["input_conv_f", "input_conv_b"]), ("input_relu", [])]
    for level in range(levels, 0, -1):
        for layer in [*(f"conv{d + 1}" for d in range(convs)), "upconv", "residual_conv"]:
            name = f"level{level}_{layer}"
            layers += [(name.removesuffix("_conv"), [f"{name}_f", f"{name}_b"]), (f"{name}_relu", [])]
    layers += [(f"level{level}_img_up", [f"level{level}_img_up_f"]) for level in range(levels, 0, -1)]
    values = random_parameters([name for _, names in layers for name in names], width)
    save_dagnn(tmp_path / "LapSRN_x4.mat", values, layers)

    model = load_checkpoint(tmp_path / "LapSRN_x4.mat")
    assert model.model_args == {"num_feat": 4, "num_conv": 3, "deconv_kernel": 3, "bias": True, "upscale": 4}
    assert_same(model, lambda y: authors_lapsrn(values, y, levels, convs))
    assert load_checkpoint(tmp_path / "LapSRN_x4.mat", scale=3).scale == 3
    (tmp_path / "LapSRN_x4.mat").rename(tmp_path / "net.mat")
    with pytest.raises(CheckpointError, match="show the scale"):
        load_checkpoint(tmp_path / "net.mat")


@pytest.mark.parametrize("recursions", [1, 3])
def test_the_authors_ms_lapsrn(tmp_path, recursions) -> None:
    """One file holds the layers of all scales; their names alone tell the recursions."""
    convs, width, layers = 2, 4, []
    for scale, levels in ((2, 1), (4, 2)):
        shared = [(f"x{scale}SR_input_conv", "input_conv")]
        for level in range(1, levels + 1):
            prefix = f"x{scale}SR_level{level}"
            shared += [
                (f"{prefix}_R{r}_conv{d}", f"conv{d}")
                for r in range(1, recursions + 1)
                for d in range(1, convs + 1)
            ]
            shared += [(f"{prefix}_upconv", "upconv"), (f"{prefix}_residual", "residual_conv")]
            layers += [(f"{prefix}_img_up", ["img_up_f"])]
        layers += [(layer, [f"{name}_f", f"{name}_b"]) for layer, name in shared]
    values = random_parameters(sorted({name for _, names in layers for name in names}), width)
    save_dagnn(tmp_path / "MSLapSRN.mat", values, layers)

    for scale, levels in ((2, 1), (4, 2), (8, 3)):
        model = load_checkpoint(tmp_path / "MSLapSRN.mat", scale=scale)
        assert model.model_args == {
            "num_feat": 4,
            "num_conv": 2,
            "num_recursion": recursions,
            "upscale": scale,
        }
        assert_same(model, lambda y, levels=levels: authors_mslapsrn(values, y, levels, convs, recursions))


# --- the port


@pytest.mark.parametrize("parallel", [False, True])
def test_the_port(tmp_path, parallel) -> None:
    torch.manual_seed(1)
    state = {"conv_input.weight": torch.randn(4, 1, 3, 3) / 3}
    for level in (1, 2):
        for i in range(0, 6, 2):
            state[f"convt_F{level}.0.cov_block.{i}.weight"] = torch.randn(4, 4, 3, 3) / 6
        state[f"convt_F{level}.0.cov_block.6.weight"] = torch.randn(4, 4, 4, 4) / 4
        state[f"convt_R{level}.weight"] = torch.randn(1, 4, 3, 3) / 6
        state[f"convt_I{level}.weight"] = torch.randn(1, 1, 4, 4) / 4
    prefix = "module." if parallel else ""
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "lapsrn_x4.pth")
    model = load_checkpoint(tmp_path / "lapsrn_x4.pth")
    assert model.model_args == {"num_feat": 4, "num_conv": 3, "deconv_kernel": 4, "bias": False, "upscale": 4}

    x = torch.rand(1, 3, 5, 4)
    y = luma(x)
    features = F.leaky_relu(F.conv2d(y, state["conv_input.weight"], padding=1), 0.2)
    for level in (1, 2):
        for i in range(0, 6, 2):
            weight = state[f"convt_F{level}.0.cov_block.{i}.weight"]
            features = F.leaky_relu(F.conv2d(features, weight, padding=1), 0.2)
        weight = state[f"convt_F{level}.0.cov_block.6.weight"]
        features = F.leaky_relu(F.conv_transpose2d(features, weight, stride=2, padding=1), 0.2)
        y = F.conv_transpose2d(y, state[f"convt_I{level}.weight"], stride=2, padding=1)
        y = y + F.conv2d(features, state[f"convt_R{level}.weight"], padding=1)
    with torch.no_grad():
        torch.testing.assert_close(luma(model(x)), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scale", "told"), [(2, 2), (3, None), (4, None), (8, 8)])
def test_what_the_tensors_tell(scale, told) -> None:
    spec, arguments, _ = identify(LapSRN(num_feat=4, num_conv=2, upscale=scale).state_dict())
    assert spec.cls is LapSRN
    assert arguments.get("upscale") == told
    spec, arguments, _ = identify(MSLapSRN(num_feat=4, num_conv=2, upscale=scale).state_dict())
    assert spec.cls is MSLapSRN
    assert arguments == {"num_feat": 4, "num_conv": 2, "num_recursion": 8}  # as released
