"""Maps that stay in the strips in which convolutions computed them."""

from __future__ import annotations

import pytest
import torch

import hfsr
from hfsr.inference.graph import trace
from hfsr.inference.regions import Region, Size
from hfsr.inference.schedule import heirs, in_strips
from hfsr.inference.strips import Strips

from .conftest import assert_equal, in_rows, loud, uneven_image


@pytest.fixture
def whole() -> torch.Tensor:
    return torch.arange(2.0 * 10 * 6).reshape(1, 2, 10, 6)


@pytest.fixture
def strips(whole) -> Strips:
    held = Strips()
    for top, bottom in ((0, 3), (3, 4), (4, 10)):
        held.append(top, whole[..., top:bottom, :])
    return held


@pytest.mark.parametrize(
    "region", [Region(0, 3, 0, 6), Region(5, 9, 1, 4), Region(2, 8, 2, 3), Region(0, 10, 0, 6)]
)
def test_any_region_is_that_of_the_whole(strips, whole, region):
    expected = whole[..., region.top : region.bottom, region.left : region.right]
    assert torch.equal(strips.part(region), expected)


def test_a_part_of_one_strip_is_no_copy(strips, whole):
    assert strips.part(Region(5, 9, 1, 4)).untyped_storage()._cdata == whole.untyped_storage()._cdata
    assert strips.edges(0, 10) == [3, 4]
    assert strips.edges(3, 4) == []


def test_what_lies_above_a_row_is_let_go(strips, whole):
    strips.drop_above(4)
    assert torch.equal(strips.part(Region(4, 7, 0, 6)), whole[..., 4:7, :])
    assert strips.edges(-1, 10) == [4]
    strips.drop_above(10)
    assert strips.edges(-1, 10) == []


def test_results_of_attention_blocks_are_strips_and_trunks_are_not():
    program = trace(hfsr.create_model("rcan_tiny").eval())
    kept = {node: in_strips(program, node) for stage in program.stages for node in stage.keeps}
    assert set(kept.values()) == {True, False}
    sizes = program.sizes(Size(40, 40))
    pairs = [pair for stage in program.stages for pair in heirs(program, stage, sizes).items()]
    assert pairs
    assert all(in_strips(program, new) == in_strips(program, old) for new, old in pairs)


def test_strips_go_as_soon_as_they_are_read(monkeypatch):
    """A map and the one that follows it never lie in memory both as a whole."""
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(64, 40)
    held: list[Strips] = []
    most = 0

    class Counted(Strips):
        def __init__(self) -> None:
            super().__init__()
            held.append(self)

        def append(self, top, rows):
            nonlocal most
            super().append(top, rows)
            most = max(most, sum(part.shape[2] for each in held for _, part in each._strips))

    monkeypatch.setattr("hfsr.inference.frame.Strips", Counted)
    assert_equal(in_rows(model, image, 8), model(image))
    assert len(held) > 2  # attention blocks
    assert 64 <= most <= 64 + 4 * 8
    assert not any(each._strips for each in held)


def test_a_step_is_cut_where_strips_end(monkeypatch):
    """Pointwise readers of strips never ask for rows of two of them, which would be a copy."""
    asked = []
    honest = Strips.part

    def part(self, region):
        asked.append(len(self.edges(region.top, region.bottom)))
        return honest(self, region)

    monkeypatch.setattr(Strips, "part", part)
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(64, 40)
    assert_equal(in_rows(model, image, 8), model(image))
    assert len(asked) > 20
    assert asked.count(0) > 0.8 * len(asked)  # but where a trunk ends, and its sum is not kept
