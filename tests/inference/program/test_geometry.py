"""Integer geometry: every rule agrees with counting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hfsr.archs._resize import Bicubic, Bilinear
from hfsr.inference.program.geometry import (
    CropAxis,
    InterpolateAxis,
    Region,
    Size,
    TransposedAxis,
    UnshuffleAxis,
    UpscaleAxis,
    WindowAxis,
    split_in_half,
    tile_grid,
)


def touched(module: nn.Module, length: int, start: int, stop: int, width: int = 1) -> set[int]:
    """Inputs along one axis that outputs [start, stop) depend on, found by gradients."""
    with torch.enable_grad():
        x = torch.rand(1, 1, length, width, dtype=torch.double, requires_grad=True)
        for parameter in module.parameters():
            parameter.data = parameter.data.double().abs() + 0.1
        module(x)[0, 0, start:stop].sum().backward()
    return set(x.grad[0, 0].abs().sum(1).nonzero().flatten().tolist())


@given(
    kernel=st.integers(1, 5), stride=st.integers(1, 3), dilation=st.integers(1, 2), start=st.integers(0, 5)
)
def test_window(kernel, stride, dilation, start):
    rule = WindowAxis(kernel, stride, kernel // 2, dilation)
    conv = nn.Conv2d(1, 1, (kernel, 1), (stride, 1), (kernel // 2, 0), (dilation, 1))
    length = 40
    assert rule.size(length) == conv(torch.zeros(1, 1, length, 1)).shape[2]
    low, high = rule.input_range(start, start + 3)
    found = touched(conv, length, start, start + 3)
    assert (min(found), max(found) + 1) == (max(low, 0) if low >= 0 else min(found), high)
    assert min(found) >= low


@given(kernel=st.integers(2, 9), stride=st.integers(1, 4), start=st.integers(0, 12))
def test_spread(kernel, stride, start):
    padding = (kernel - 1) // 2
    rule = TransposedAxis(kernel, stride, padding)
    conv = nn.ConvTranspose2d(1, 1, (kernel, 1), (stride, 1), (padding, 0))
    length = 20
    assert rule.size(length) == conv(torch.zeros(1, 1, length, 1)).shape[2]
    low, high = rule.input_range(start, start + 2)
    found = touched(conv, length, start, start + 2)
    assert not found or (max(low, 0) <= min(found) and max(found) < high)
    assert not found or (min(found), max(found) + 1) == (max(low, 0), min(high, length))


def test_enlarge_and_reduce():
    assert UpscaleAxis(3).input_range(4, 7) == (1, 3)
    assert UpscaleAxis(3).size(5) == 15
    assert UnshuffleAxis(2).input_range(3, 5) == (6, 10)
    assert UnshuffleAxis(2).size(9) == 4


def test_trim():
    assert CropAxis(1, 2).size(9) == 6
    assert CropAxis(1, 2).input_range(0, 6) == (1, 7)


@settings(deadline=None)
@given(
    kind=st.sampled_from([Bilinear, Bicubic]),
    ratio=st.sampled_from([(2, 1), (3, 1), (4, 1), (8, 1), (3, 4), (2, 3), (1, 2)]),
    start=st.integers(0, 12),
    length=st.integers(1, 9),
)
def test_interpolate(kind, ratio, start, length):
    factor, divisor = ratio
    module, rule = kind(factor, divisor), InterpolateAxis(factor, kind.support, divisor)
    size = 144
    assert rule.size(size) == module(torch.zeros(1, 1, size, divisor)).shape[2]
    start += rule.size(60)  # far from the border
    low, high = rule.input_range(start, start + length)
    found = touched(module, size, start, start + length, width=divisor)
    assert low <= min(found)
    assert max(found) < high
    assert (low % divisor, high % divisor) == (0, 0)
    # Nothing is asked for without need but for px where the kernel is nought, and what completes a block.
    assert min(found) - low <= divisor
    assert high - 1 - max(found) <= divisor
    if divisor == 1 and length > factor:
        assert (low, high) == (min(found), max(found) + 1)


@given(height=st.integers(1, 70), width=st.integers(1, 70), tile=st.integers(8, 80))
def test_cut_covers_every_px_once(height, width, tile):
    counts = torch.zeros(height, width, dtype=torch.int)
    for r in tile_grid(Size(height, width), tile):
        assert 0 < r.height <= tile
        assert 0 < r.width <= tile
        counts[r.top : r.bottom, r.left : r.right] += 1
    assert (counts == 1).all()


@pytest.mark.parametrize("region", [Region(0, 9, 0, 4), Region(3, 5, 2, 17)])
def test_split_halves_the_longer_side(region):
    a, b = split_in_half(region)
    assert a.area + b.area == region.area
    assert a.union(b) == region
    assert max(a.height, a.width) < max(region.height, region.width)


@given(
    st.integers(2, 50),
    st.integers(2, 50),
    st.integers(8, 30),
    st.sampled_from([(1, 2), (2, 1), (1, 4), (3, 1)]),
)
def test_scaled_pieces_tile_the_scaled_map(height, width, tile, ratio):
    up, down = ratio
    image, size = Size(height, width), Size(-(-height * up // down), -(-width * up // down))
    counts = torch.zeros(size, dtype=torch.int)
    for r in tile_grid(image, tile):
        s = r.rescale(image, size)
        counts[s.top : s.bottom, s.left : s.right] += 1
    assert (counts == 1).all()
