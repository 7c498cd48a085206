"""Sides that a network cannot divide: pieces and rows are padded and cropped as `forward` does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hfsr
from hfsr.archs import padded_indices
from hfsr.archs._padding import pad_to_multiple
from hfsr.inference import Upscaler, runner

from ..conftest import loud, uneven_image

SIZES = [(45, 61), (1, 1), (2, 37), (35, 3), (40, 46)]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [8, 16, 37, "auto"])
def test_parts_equal_the_whole_image(scale, size, tile, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)  # else "auto" runs such an image whole
    model = loud(hfsr.create_model("rrdbnet_tiny", scale=scale).eval())
    image = uneven_image(*size)
    whole = model(image)
    parts = Upscaler(model, tile=tile, dtype="fp32", device="cpu").tensor(image)
    assert parts.shape == whole.shape == (1, 3, size[0] * scale, size[1] * scale)
    assert (parts - whole).abs().max() <= 1e-5 * max(1.0, whole.abs().max())


def test_the_padding_matters():
    """Without this, the test above would prove nothing about it."""
    model = loud(hfsr.create_model("rrdbnet_tiny", scale=1).eval())
    image = uneven_image(13, 13)
    other = F.pad(image, (0, 3, 0, 3))
    assert (model.core(other)[..., :13, :13] - model(image)).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays_of_odd_sides(dtype):
    model = hfsr.create_model("rrdbnet_tiny", scale=2).eval()
    pixels = np.random.default_rng(0).random((21, 17, 3))
    pixels = (pixels * 255).astype(dtype) if dtype == np.uint8 else pixels.astype(dtype)
    whole, pieces = (Upscaler(model, tile=tile, dtype="fp32", device="cpu")(pixels) for tile in (0, 8))
    assert pieces.shape == (42, 34, 3)
    np.testing.assert_allclose(
        pieces.astype(float), whole.astype(float), atol=1 if dtype == np.uint8 else 1e-5
    )


def test_a_plan_of_odd_sides():
    model = hfsr.create_model("rrdbnet_tiny", scale=1).eval()
    assert Upscaler(model, device="cpu").plan(333, 201).flops > 0


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 9])
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_the_end_is_reflected_or_repeated(length, multiple):
    extra = -length % multiple
    row = torch.arange(length, dtype=torch.float32)[None, None]
    expected = F.pad(row, (0, extra), "reflect" if extra < length else "replicate") if extra else row
    assert padded_indices(length, multiple) == expected.flatten().int().tolist()
    padded = pad_to_multiple(torch.rand(1, 3, length, multiple), multiple)
    assert padded.shape == (1, 3, length + extra, multiple)
