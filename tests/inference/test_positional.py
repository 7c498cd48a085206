"""Networks for any real scale: parts carry their absolute place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hfsr
from hfsr.archs import enlarged_length, source_of
from hfsr.inference import Upscaler, runner
from hfsr.inference.program.geometry import RealScaleAxis
from hfsr.inference.program.tracing import trace

from .conftest import loud, uneven_image

SCALES = [1.1, 1.5, 2, 2.37, math.pi]


def network(scale: float) -> nn.Module:
    torch.manual_seed(3)
    return loud(hfsr.create_model("metardn_tiny", scale=scale).eval())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(29, 45), (1, 1), (31, 2)], ids=str)
@pytest.mark.parametrize("tile", [8, 13, "auto"])
def test_parts_equal_the_whole_image(scale, size, tile, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)  # else "auto" runs such an image whole
    model, image = network(scale), uneven_image(*size)
    whole = model(image)
    parts = Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image)
    assert parts.shape == whole.shape == (1, 3, *(math.floor(side * scale + 1e-6) for side in size))
    assert (parts - whole).abs().max() <= 1e-5 * max(1.0, whole.abs().max())


def test_the_place_of_these_weights_matters():
    """Without this, the test above would prove nothing about it."""
    model, image = network(1.5), uneven_image(31, 31)
    by_itself = model(image[..., 1:, 1:])
    assert (by_itself[..., 15:30, 15:30] - model(image)[..., 16:31, 16:31]).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_of_a_real_scale(dtype):
    up = Upscaler(network(2.5), tile=16, dtype="fp32", device="cpu")
    result = up(np.zeros((21, 17, 3), dtype))
    assert result.dtype == dtype
    assert result.shape == (52, 42, 3)
    assert up.scale == 2.5
    assert "x2.5" in up.summary


def test_its_graph_says_so():
    model = network(1.7)
    program = trace(model)
    assert program.kind == "positional"
    assert program.scale() == pytest.approx(1.7, abs=1e-5)


def test_bf16_is_within_50_db_of_fp32():
    torch.manual_seed(0)
    model, image = hfsr.create_model("metardn_tiny", scale=1.5).eval(), uneven_image(48, 64)
    exact = Upscaler(model, dtype="fp32", device="cpu").tensor(image)
    low = Upscaler(model, dtype="bf16", tile=32, device="cpu").tensor(image)
    assert 0 < (exact - low).square().mean() < 1e-5


@given(length=st.integers(1, 4000), scale=st.floats(1.1, 4), span=st.tuples(st.integers(0), st.integers(0)))
def test_a_part_needs_the_px_around_its_sources(length, scale, span):
    rule = RealScaleAxis(scale, margin=1)
    size = rule.size(length)
    assert size == enlarged_length(length, scale) == math.floor(length * scale + 1e-6)
    start, stop = sorted((span[0] % size, span[1] % size))
    first, end = rule.input_range(start, stop + 1)
    assert first == source_of(start, scale) - 1
    assert end == source_of(stop, scale) + 2
    assert first >= -1
    assert end <= length + 1
