"""Results as arrays and as rows in order; large ones lie in a file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import hfsr
from hfsr.inference import Upscaler, runner
from hfsr.inference.image_io import result_array
from hfsr.inference.image_io.result_array import RowAssembler, allocate_result
from hfsr.inference.program.geometry import Region, Size, tile_grid


@pytest.mark.parametrize("tile", [7, 16, 100])
@pytest.mark.parametrize("alpha", [False, True])
def test_rows_come_whole_and_in_order(tile, alpha):
    values = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    opacity = values[..., 0].copy() if alpha else None
    taken: list[np.ndarray] = []
    order = RowAssembler(41, lambda rows: taken.append(rows.copy()), opacity)
    for r in tile_grid(Size(30, 41), tile):
        order.write(r, values[r.top : r.bottom, r.left : r.right])
    expected = values if opacity is None else np.dstack([values, opacity])
    np.testing.assert_array_equal(np.concatenate(taken), expected)


def test_parts_of_a_strip_may_come_in_any_order():
    taken: list[np.ndarray] = []
    order = RowAssembler(4, lambda rows: taken.append(rows.copy()))
    order.write(Region(0, 2, 2, 4), np.full((2, 2), 1, np.uint8))
    order.write(Region(1, 3, 0, 2), np.full((2, 2), 2, np.uint8))
    assert not taken
    order.write(Region(0, 1, 0, 2), np.full((1, 2), 3, np.uint8))
    order.write(Region(2, 3, 2, 4), np.full((1, 2), 4, np.uint8))
    assert np.concatenate(taken).tolist() == [[3, 3, 1, 1], [2, 2, 1, 1], [2, 2, 4, 4]]


def test_a_large_result_lies_in_a_file(monkeypatch):
    assert not isinstance(allocate_result((4, 4), np.dtype(np.uint8)), np.memmap)
    monkeypatch.setattr(result_array, "_FILE_FROM", 0)
    model, array = hfsr.create_model("edsr_tiny").eval(), np.full((20, 20, 3), 9, np.uint8)
    result = Upscaler(model)(array)
    assert isinstance(result, np.memmap)
    monkeypatch.undo()
    np.testing.assert_array_equal(result, Upscaler(model)(array))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("tile", [16, "auto"])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_a_file_written_row_by_row_is_the_image(mode, tile, ending, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL", 0)
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (37, 29, channels), np.uint8).squeeze()
    image = Image.fromarray(values)
    image.save(tmp_path / "in.png")
    up = Upscaler(hfsr.create_model("edsr_tiny").eval(), tile=tile, dtype="fp32")
    up.file(tmp_path / "in.png", tmp_path / f"out{ending}")
    with Image.open(tmp_path / f"out{ending}") as written:
        expected = up(image).convert(written.mode)
        np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))
