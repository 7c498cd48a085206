"""Numbers that depend on (seed, epoch, index) alone."""

from __future__ import annotations

import numpy as np

from hfsr.data.randomness import epoch_order, uniforms

INDICES = np.arange(4000)


def test_one_index_does_not_depend_on_the_others():
    together = uniforms(3, 5, INDICES, 4)
    assert together.shape == (4000, 4)
    assert np.array_equal(together[[17, 3]], uniforms(3, 5, np.array([17, 3]), 4))
    assert np.array_equal(together[:, :2], uniforms(3, 5, INDICES, 2))


def test_seed_epoch_index_and_column_all_matter():
    base = uniforms(3, 5, INDICES, 2)
    for other in (uniforms(4, 5, INDICES, 2), uniforms(3, 6, INDICES, 2), uniforms(5, 3, INDICES, 2)):
        assert abs(np.corrcoef(base[:, 0], other[:, 0])[0, 1]) < 0.06
        assert not np.any(base == other)
    assert abs(np.corrcoef(base[:, 0], base[:, 1])[0, 1]) < 0.06
    assert abs(np.corrcoef(base[:-1, 0], base[1:, 0])[0, 1]) < 0.06


def test_they_are_uniform():
    values = np.concatenate([uniforms(0, epoch, INDICES, 3).ravel() for epoch in range(3)])
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, bins=10, range=(0, 1))[0] / len(values)
    assert np.all(np.abs(counts - 0.1) < 0.008)


def test_an_epoch_visits_every_index_once_in_an_order_of_its_own():
    first, second = epoch_order(1, 0, 500), epoch_order(1, 1, 500)
    assert np.array_equal(np.sort(first), np.arange(500))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch_order(1, 0, 500))


def test_the_numbers_stay_what_they_are():
    """A change here changes every training run."""
    expected = [[0.66979428, 0.87310041], [0.7293551, 0.27799736]]
    assert np.allclose(uniforms(0, 0, np.array([0, 1]), 2), expected, atol=1e-6)
