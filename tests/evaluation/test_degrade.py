"""Degradations made on the fly: repeatable by name, stated in the protocol."""

from __future__ import annotations

import numpy as np
import pytest

from hfsr.errors import OptionsError
from hfsr.evaluation import Bicubic, Jpeg, Noise

GT = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_noise_depends_on_the_name_and_the_seed_alone():
    noise = Noise(25, seed=3)
    first = noise(GT, "baby")
    noise(GT, "bird")
    np.testing.assert_array_equal(noise(GT, "baby"), first)
    assert np.any(noise(GT, "bird") != first)
    assert np.any(Noise(25, seed=4)(GT, "baby") != first)
    assert noise.protocol()["sigma"] == 25
    assert noise.protocol()["seed"] == 3


def test_the_others():
    assert Bicubic(4)(GT, "a").shape == (4, 4, 3)
    np.testing.assert_array_equal(Bicubic(1)(GT, "a"), GT)
    assert Jpeg(10)(GT, "a").shape == GT.shape
    assert Jpeg(10).protocol()["quality"] == 10
    assert "MATLAB bicubic" in Bicubic(2).protocol()["resize"]


@pytest.mark.parametrize("wrong", [lambda: Noise(-1), lambda: Noise(256), lambda: Jpeg(0), lambda: Jpeg(101)])
def test_out_of_range(wrong):
    with pytest.raises(OptionsError, match="out of range; choose"):
        wrong()
