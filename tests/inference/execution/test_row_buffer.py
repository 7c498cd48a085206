"""Row buffers: rows of feature maps in the chunks in which they were computed."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import hfsr
from hfsr.inference.execution.row_buffer import RowBuffer, spans_after_append, spans_after_drop
from hfsr.inference.execution.row_executor import _StageRows
from hfsr.inference.program.geometry import Region, Size
from hfsr.inference.program.sized_program import SizedProgram
from hfsr.inference.program.tracing import trace
from hfsr.inference.scheduling.band_heights import BandHeights, choose_band_heights
from hfsr.inference.scheduling.buffer_reuse import reusable_buffers, stays_in_row_buffer
from hfsr.inference.scheduling.virtual_concat import is_virtual_concat, row_readers, row_sources

from ..conftest import assert_equal, in_rows, loud, uneven_image


@pytest.fixture
def whole() -> torch.Tensor:
    return torch.arange(2.0 * 10 * 6).reshape(1, 2, 10, 6)


@pytest.fixture
def buffer(whole) -> RowBuffer:
    held = RowBuffer()
    for top, bottom in ((0, 3), (3, 4), (4, 10)):
        held.append(top, whole[..., top:bottom, :])
    return held


@pytest.mark.parametrize(
    "region", [Region(0, 3, 0, 6), Region(5, 9, 1, 4), Region(2, 8, 2, 3), Region(0, 10, 0, 6)]
)
def test_any_region_is_that_of_the_whole(buffer, whole, region):
    expected = whole[..., region.top : region.bottom, region.left : region.right]
    assert torch.equal(buffer.read(region), expected)


def test_a_part_of_one_chunk_is_no_copy(buffer, whole):
    assert buffer.read(Region(5, 9, 1, 4)).untyped_storage()._cdata == whole.untyped_storage()._cdata
    assert buffer.edges(0, 10) == [3, 4]
    assert buffer.edges(3, 4) == []


def test_what_lies_above_a_row_is_dropped(buffer, whole):
    buffer.drop_above(4)
    assert torch.equal(buffer.read(Region(4, 7, 0, 6)), whole[..., 4:7, :])
    assert buffer.edges(-1, 10) == [4]
    buffer.drop_above(10)
    assert buffer.edges(-1, 10) == []


def test_a_chunk_that_begins_above_replaces_what_it_contains(whole):
    held = RowBuffer()
    for top, bottom in ((0, 4), (4, 6), (3, 10)):
        held.append(top, whole[..., top:bottom, :])
    assert held.edges(-1, 10) == [0, 3]
    for region in (Region(3, 10, 0, 6), Region(1, 4, 0, 6), Region(2, 9, 1, 3)):
        assert torch.equal(
            held.read(region), whole[..., region.top : region.bottom, region.left : region.right]
        )
    assert len(held.chunks(Region(3, 10, 0, 6))) == 1
    assert [piece.shape[2] for piece in held.chunks(Region(1, 9, 0, 6))] == [2, 6]


def test_at_most_twice_what_is_needed_is_held():
    spans: list[tuple[int, int]] = []
    for stop in range(7, 200, 7):
        spans = spans_after_append(spans, (stop - 7, stop))
        for lag in (1, 2, 5, 20, 90):
            row = max(0, stop - lag)
            left = spans_after_drop(spans, row)
            assert left[0][0] <= row
            assert left[-1][1] == stop
            assert all(above[1] >= below[0] for above, below in itertools.pairwise(left))
            assert sum(bottom - top for top, bottom in left) <= max(2 * (stop - row), 0)
        assert spans_after_drop(spans, stop) == []
        assert spans_after_drop(spans, max(0, stop - 90)) == [span for span in spans if span[1] > stop - 90]


def test_the_last_rows_are_copied_out_of_a_chunk_that_is_mostly_past(whole):
    held = RowBuffer()
    held.append(0, whole)
    held.drop_above(8)
    assert torch.equal(held.read(Region(8, 10, 0, 6)), whole[..., 8:, :])
    assert held.read(Region(8, 10, 0, 6)).untyped_storage().nbytes() == 2 * 6 * 2 * 4


def dense() -> nn.Module:
    torch.manual_seed(3)
    return loud(hfsr.create_model("rrdbnet_tiny").eval())


def test_concatenations_of_a_dense_block_are_made_when_they_are_read():
    program = trace(dense())
    cats = [node for node in program.operators if node.target is torch.cat]
    assert len(cats) == 12
    assert all(is_virtual_concat(program, node) for node in cats)
    first = cats[0].args[0][0]
    assert not any(reader in cats for reader in row_readers(program, first))
    assert row_sources(program, next(iter(cats[3].users))) == list(cats[3].args[0])


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 100])
def test_a_dense_network_in_rows_is_the_whole(rows):
    model, image = dense(), uneven_image(61, 24)
    assert_equal(in_rows(model, image, rows), model(image))


def test_rows_that_wait_for_long_are_not_copied(monkeypatch):
    """What the trunk adds at its end lies as it was computed; only short ends of others are copied."""
    copied: list[tuple[int, int]] = []
    honest = RowBuffer._copy

    def saved(self, rows):
        copied.append((rows.shape[2], self._spans[-1][1] - self._spans[0][0]))
        return honest(self, rows)

    monkeypatch.setattr(RowBuffer, "_copy", saved)
    model, image = dense(), uneven_image(120, 24)
    assert_equal(in_rows(model, image, 4), model(image))
    assert copied
    assert max(rows for rows, _ in copied) <= 8


def test_a_dense_block_is_not_wide():
    """Its body goes in bands as high as its feature maps allow, and not as those of the upscaled image."""
    sized = SizedProgram(trace(hfsr.create_model("rrdbnet_6b_x4").eval()), Size(320, 1024))
    (stage,) = sized.stages
    bands = choose_band_heights(sized, stage, 10 << 20)
    assert bands == BandHeights(40, 2)


def test_results_of_attention_blocks_stay_in_row_buffers_and_trunks_do_not():
    program = trace(hfsr.create_model("rcan_tiny").eval())
    kept = {node: stays_in_row_buffer(program, node) for stage in program.stages for node in stage.keeps}
    assert set(kept.values()) == {True, False}
    sized = SizedProgram(program, Size(40, 40))
    pairs = [pair for stage in program.stages for pair in reusable_buffers(sized, stage).items()]
    assert pairs
    assert all(stays_in_row_buffer(program, new) == stays_in_row_buffer(program, old) for new, old in pairs)


def test_chunks_are_dropped_as_soon_as_they_are_read(monkeypatch):
    """A feature map and the next one are never in memory as a whole together."""
    torch.manual_seed(3)
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(64, 40)
    held: list[RowBuffer] = []
    honest, most = _StageRows._compute_live, 0

    def keep(self, node, region):
        nonlocal most
        honest(self, node, region)
        alive = [each for each in self._features.live.values() if isinstance(each, RowBuffer)]
        held.extend(each for each in alive if each not in held)
        most = max(most, sum(bottom - top for each in alive for top, bottom in each._spans))

    monkeypatch.setattr(_StageRows, "_compute_live", keep)
    assert_equal(in_rows(model, image, 8), model(image))
    assert len(held) > 2  # attention blocks
    assert 64 <= most <= 64 + 4 * 8
    assert not any(each._spans for each in held)


def test_a_step_is_split_where_chunks_end(monkeypatch):
    """Pointwise readers of chunks never read rows of two of them, which would be a copy."""
    asked = []
    honest = RowBuffer.read

    def part(self, region):
        asked.append(len(self.edges(region.top, region.bottom)))
        return honest(self, region)

    monkeypatch.setattr(RowBuffer, "read", part)
    model, image = loud(hfsr.create_model("rcan_tiny").eval()), uneven_image(64, 40)
    assert_equal(in_rows(model, image, 8), model(image))
    assert len(asked) > 20
    assert asked.count(0) > 0.8 * len(asked)  # but where a trunk ends, and its sum is not kept
