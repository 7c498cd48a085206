"""Pieces equal the whole image, for every network of ours that can be cut in exact pieces."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hfsr
from hfsr.inference import Upscaler
from hfsr.inference.program.tracing import trace
from hfsr.registry import ARCHS

from .conftest import TOLERANCE, assert_equal, in_rows, independent_tiles, loud, uneven_image

PIECEWISE = [
    name
    for name in hfsr.list_archs()
    if ARCHS[name].role == "restorer" and ARCHS[name].tiling in ("local", "pooled", "positional")
]


def tiny(arch: str) -> nn.Module:
    torch.manual_seed(3)
    preset = next(name for name in ARCHS[arch].presets if name.endswith("_tiny"))
    return hfsr.create_model(preset).eval()


@pytest.mark.parametrize("arch", PIECEWISE)
@pytest.mark.parametrize(("height", "width"), [(45, 61), (17, 90), (1, 1), (1, 40), (33, 2)])
@pytest.mark.parametrize("tile", [8, 13, 32, 500])
def test_pieces_equal_the_whole_image(arch, height, width, tile):
    model = loud(tiny(arch))
    image = uneven_image(height, width)
    whole = model(image)
    assert_equal(Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image), whole)


@pytest.mark.parametrize("arch", PIECEWISE)
@pytest.mark.parametrize(("height", "width"), [(45, 61), (1, 1), (90, 17), (2, 33)])
@pytest.mark.parametrize("rows", [1, 3, 16, 200])
def test_a_stream_of_rows_equals_the_whole_image(arch, height, width, rows):
    model, image = loud(tiny(arch)), uneven_image(height, width)
    assert_equal(in_rows(model, image, rows), model(image))


@pytest.mark.parametrize("arch", [name for name in PIECEWISE if ARCHS[name].tiling == "pooled"])
def test_the_pools_of_these_weights_matter(arch):
    """Without this, the test above would prove nothing about pooling."""
    model = loud(tiny(arch))
    image = uneven_image(45, 61)
    assert (independent_tiles(model, image, 32) - model(image)).abs().max() >= 1e-2


@pytest.mark.parametrize("arch", [name for name in PIECEWISE if ARCHS[name].tiling == "local"])
def test_the_halos_of_these_weights_matter(arch):
    """Nor would it about halos, if tiles without any were as good."""
    model, image = loud(tiny(arch)), uneven_image(45, 61)
    assert (independent_tiles(model, image, 32, pad=0) - model(image)).abs().max() >= 1e-2


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("preset", "gain"), [("a2n_x2", 1.3), ("rcan_x4", 1.0)])
def test_a_image_in_pieces_of_128_px(preset, gain):
    """390x260 px by networks of full size: `--tile 128` is `--tile 0`, and tiles by themselves are not."""
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model(preset).eval(), gain), uneven_image(260, 390)
    whole = Upscaler(model, tile=0, dtype="fp32", device="cpu").tensor(image)
    span = float(whole.max() - whole.min())
    parts = Upscaler(model, tile=128, dtype="fp32", device="cpu").tensor(image)
    assert (parts - whole).abs().max() <= TOLERANCE * span
    owned = 128 * model.scale
    corner = independent_tiles(model, image[..., -138:, -138:], 138)[..., -owned:, -owned:]
    assert (corner - whole[..., -owned:, -owned:]).abs().max() >= 1e-2 * span


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["a2n_x2", "drn_s_x4"])
def test_pooled_networks_of_full_size_are_exact_in_pieces(preset):
    """The presets that people run, with weights that make their pools matter."""
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model(preset).eval(), 1.3), uneven_image(60, 84)
    whole = model(image)
    span = float(whole.max() - whole.min())
    for tile in (48, "auto"):
        parts = Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image)
        assert (parts - whole).abs().max() <= TOLERANCE * span
    assert (independent_tiles(model, image, 48) - whole).abs().max() >= 1e-2 * span


@pytest.mark.parametrize("arch", PIECEWISE)
def test_stated_kind_and_radius_are_those_of_the_graph(arch):
    model, spec = tiny(arch), ARCHS[arch]
    program = trace(model)
    assert (program.kind, program.radius()) == (spec.tiling, spec.radius(model.model_args))
