"""Rows that another thread writes: in order, errors reach the caller, nothing is left of a failure."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hfsr.errors import ImageError
from hfsr.images import BackgroundRows, LoadedImage, open_rows, read_image


@pytest.fixture
def image() -> LoadedImage:
    return LoadedImage(np.random.default_rng(0).integers(0, 256, (60, 7, 3), np.uint8))


@pytest.fixture
def encoder():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def rows_of(image, path, encoder) -> BackgroundRows:
    return BackgroundRows(encoder, open_rows(path, like=image, width=image.width, height=image.height))


def test_rows_arrive_in_order_and_may_be_changed_afterwards(tmp_path, image, encoder):
    rows = rows_of(image, tmp_path / "a.png", encoder)
    buffer = np.empty((3, 7, 3), np.uint8)
    for top in range(0, 60, 3):
        buffer[:] = image.pixels[top : top + 3]
        rows.write(buffer)
    rows.finish().result()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, image.pixels)


def test_missing_rows_are_an_error_of_the_future(tmp_path, image, encoder):
    rows = rows_of(image, tmp_path / "a.png", encoder)
    rows.write(image.pixels[:10])
    with pytest.raises(ImageError, match="lacks 50 rows"):
        rows.finish().result()
    assert os.listdir(tmp_path) == []


def test_an_error_reaches_a_later_call(tmp_path, image, encoder):
    rows = rows_of(image, tmp_path / "a.png", encoder)
    wrong = image.pixels[:1].astype(np.uint16)

    def write_many() -> None:
        for _ in range(60):
            rows.write(wrong)

    with pytest.raises(ImageError, match="rows are uint16") as caught:
        write_many()
    rows.abort(caught.value)
    assert os.listdir(tmp_path) == []


def test_an_interrupted_file_is_removed(tmp_path, image, encoder):
    rows = rows_of(image, tmp_path / "a.png", encoder)
    rows.write(image.pixels[:10])
    rows.abort(KeyboardInterrupt())
    assert os.listdir(tmp_path) == []
