"""Colors under transparent px: near ones, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from hfsr.images import underlaid


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(37, 50, 3), (37, 50)])
def test_what_is_seen_stays_and_what_is_not_is_filled_from_it(rng, dtype, shape):
    peak = np.iinfo(dtype).max
    pixels = rng.integers(peak // 4, peak // 2, shape, dtype)
    alpha = rng.integers(1, peak, shape[:2], dtype)
    hidden = np.zeros(shape[:2], bool)
    hidden[5:30, 10:45] = True
    pixels[hidden], alpha[hidden] = peak, 0
    given = pixels.copy()
    filled = underlaid(pixels, alpha)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(pixels, given)
    np.testing.assert_array_equal(filled[~hidden], pixels[~hidden])
    assert filled[hidden].max() <= peak // 2
    assert filled[hidden].min() >= peak // 4


def test_the_nearest_colors_are_taken():
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, :8], pixels[:, -8:] = (200, 0, 0), (0, 0, 200)
    alpha = np.zeros((16, 64), np.uint8)
    alpha[:, :8] = alpha[:, -8:] = 255
    filled = underlaid(pixels, alpha)
    assert np.abs(filled[:, 8:16].astype(int) - (200, 0, 0)).max() <= 30
    assert np.abs(filled[:, 48:56].astype(int) - (0, 0, 200)).max() <= 30


def test_faint_px_count_as_little_as_they_are_seen():
    pixels, alpha = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    pixels[0], alpha[0] = 100, 255
    pixels[7], alpha[7] = 0, 1
    assert underlaid(pixels, alpha)[1:4].min() >= 50


@pytest.mark.parametrize("opacity", [0, 7, 255])
def test_nothing_to_fill_or_to_fill_from(rng, opacity):
    pixels = rng.integers(0, 256, (1, 9, 3), np.uint8)
    assert underlaid(pixels, np.full((1, 9), opacity, np.uint8)) is pixels


def test_a_single_px_that_is_seen_fills_a_row():
    alpha = np.zeros((1, 5001), np.uint8)
    alpha[0, 700] = 3
    assert (underlaid(np.full((1, 5001), 9, np.uint8) * (alpha > 0), alpha) == 9).all()
