"""Reduction of results: against PyTorch's antialiased bicubic, whatever the parts in which they arrive."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hfsr.inference.image_io.resampling import ResamplingSink
from hfsr.inference.program.geometry import Region, Size


class Rows:
    """Sink that insists on whole rows from top to bottom."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.values = torch.full((1, 3, *size), torch.nan)
        self.bottom = 0

    def write(self, region: Region, part: Tensor) -> None:
        assert (region.top, region.left, region.right) == (self.bottom, 0, self.size.width)
        assert part.shape == (1, 3, region.height, region.width)
        self.values[..., region.top : region.bottom, :] = part
        self.bottom = region.bottom


def resample(image: Tensor, target: Size, regions: list[Region]) -> Tensor:
    rows = Rows(target)
    sink = ResamplingSink(rows, Size(*image.shape[-2:]), target)
    for top, bottom, left, right in regions:
        sink.write(Region(top, bottom, left, right), image[..., top:bottom, left:right])
    assert rows.bottom == target.height
    return rows.values


def parts(height: int, width: int, size: tuple[int, int]) -> list[Region]:
    tops, lefts = range(0, height, size[0]), range(0, width, size[1])
    return [Region(t, min(t + size[0], height), x, min(x + size[1], width)) for t in tops for x in lefts]


SIZES = [((40, 52), (31, 47)), ((64, 60), (10, 59)), ((30, 20), (30, 20)), ((33, 33), (17, 16))]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_it_is_antialiased_bicubic(source, target):
    image = torch.rand(1, 3, *source)
    result = resample(image, Size(*target), parts(*source, source))
    expected = functional.interpolate(image, size=target, mode="bicubic", antialias=True)
    inside = (..., slice(3, -3), slice(3, -3))  # PyTorch does not mirror the image at its borders
    torch.testing.assert_close(result[inside], expected[inside], rtol=0, atol=1e-5)
    plain = functional.interpolate(image, size=target, mode="bicubic")
    if target[0] < source[0] // 2:
        assert (result - plain)[inside].abs().max() > 0.1


@pytest.mark.parametrize(("source", "target"), [*SIZES, ((1, 1), (1, 1)), ((3, 2), (1, 2))])
@pytest.mark.parametrize("order", ["bands", "tiles", "any"])
def test_the_parts_do_not_matter(source, target, order):
    image = torch.rand(1, 3, *source)
    regions = parts(*source, (5, source[1]) if order == "bands" else (7, 9))
    if order == "any":
        random.Random(0).shuffle(regions)
    whole = resample(image, Size(*target), parts(*source, source))
    torch.testing.assert_close(resample(image, Size(*target), regions), whole, rtol=0, atol=1e-6)


def test_a_constant_stays_constant_up_to_the_borders():
    result = resample(torch.full((1, 3, 41, 37), 0.7), Size(29, 31), parts(41, 37, (8, 37)))
    torch.testing.assert_close(result, torch.full_like(result, 0.7), rtol=0, atol=1e-6)


def test_only_the_rows_that_wait_are_held():
    height, width = 400, 30
    sink = ResamplingSink(rows := Rows(Size(300, 23)), Size(height, width), Size(300, 23))
    for top in range(0, height, 8):
        sink.write(Region(top, top + 8, 0, width), torch.rand(1, 3, 8, width))
        assert sink.held_rows <= 4
    assert rows.bottom == 300
