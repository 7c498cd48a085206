"""Bands of rows: each row of each feature map once, none before it is needed, and all bands alike."""

from __future__ import annotations

import itertools

import pytest
from torch import fx

import hfsr
from hfsr.inference.program.geometry import Size
from hfsr.inference.program.program import Program
from hfsr.inference.program.sized_program import SizedProgram
from hfsr.inference.program.tracing import trace
from hfsr.inference.scheduling.band_heights import BandHeights
from hfsr.inference.scheduling.row_schedule import Band, RowSchedule

IMAGE = Size(97, 24)
BANDS = BandHeights(8, 2)


@pytest.fixture(scope="module", params=["rrdbnet_tiny", "edsr_tiny", "rcan_tiny", "metardn_tiny"])
def program(request: pytest.FixtureRequest) -> Program:
    return trace(hfsr.create_model(request.param).eval())


def bands_in(program: Program, index: int, bands: BandHeights = BANDS) -> list[Band]:
    """All bands of a stage, each taken as done."""
    schedule = RowSchedule(SizedProgram(program, IMAGE), program.stages[index], bands)
    found = []
    while (band := schedule.next_band()) is not None:
        for step in band.steps:
            schedule.finish(step.node, step.stop)
        schedule.finish_band(band)
        found.append(band)
    return found


def test_every_row_of_every_map_is_computed_once(program: Program) -> None:
    sizes = program.sizes(IMAGE)
    for index, stage in enumerate(program.stages):
        spans: dict[fx.Node, list[tuple[int, int]]] = {}
        for step in itertools.chain.from_iterable(band.steps for band in bands_in(program, index)):
            spans.setdefault(step.node, []).append((step.start, step.stop))
        for found in spans.values():
            assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
            assert found[0][0] == 0
        assert all(spans[node][-1][1] == sizes[node].height for node in program.targets(stage))


def test_the_image_is_owned_once_from_top_to_bottom(program: Program) -> None:
    for index in range(len(program.stages)):
        parts = [band.part for band in bands_in(program, index) if band.part.top >= 0]
        assert [part.top for part in parts] == [0, *(part.bottom for part in parts[:-1])]
        assert parts[-1].bottom == IMAGE.height


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_no_band_of_a_deep_stage_is_much_higher_than_the_others(rows: int) -> None:
    """Its windows reach over more rows than a band has: what they see first comes in bands of its own."""
    program = trace(hfsr.create_model("rrdbnet_tiny", num_block=3).eval())
    sizes, bands = program.sizes(IMAGE), bands_in(program, 0, BandHeights(rows, rows))
    reach = program.radius()
    assert reach > 3 * rows
    above = [band for band in bands if band.part.top < 0]
    assert len(above) >= reach // rows - 1
    assert all(not band.owned for band in above)
    for step in itertools.chain.from_iterable(band.steps for band in bands):
        enlarged = sizes[step.node].height // IMAGE.height
        assert step.stop - step.start <= 2 * rows * enlarged


def test_a_shallow_stage_begins_with_the_image() -> None:
    program = trace(hfsr.create_model("edsr_tiny").eval())
    bands = bands_in(program, 0, BandHeights(64, 64))
    assert program.radius() < 64
    assert [(band.part.top, band.part.bottom) for band in bands] == [(0, 64), (64, 97)]


def test_bands_that_are_halved_on_the_way_leave_nothing_out(program: Program) -> None:
    schedule = RowSchedule(SizedProgram(program, IMAGE), program.stages[0], BandHeights(7, 7))
    owned = []
    while (band := schedule.next_band()) is not None:
        for step in band.steps:
            schedule.finish(step.node, step.stop)
        schedule.finish_band(band)
        owned += [band.part] if band.part.top >= 0 else []
        schedule.shrink()
    assert owned[0].top == 0
    assert all(before.bottom == after.top for before, after in itertools.pairwise(owned))
    assert owned[-1].bottom == IMAGE.height
