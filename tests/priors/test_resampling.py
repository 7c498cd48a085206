"""The ways between the two grids: the same as on whole numbers, and band by band as whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr.degradations import bicubic_down, bicubic_up, kernel_down
from hfsr.images import to_rgb_float
from hfsr.priors.resampling import Origin, Scaling


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 66, 3), np.uint8)


@pytest.fixture(scope="module")
def kernel() -> np.ndarray:
    values = np.random.default_rng(1).random((7, 6)) ** 2
    return values / values.sum()


def levels(x: torch.Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.0, 2.0), (1.5, 2.0)])
def test_they_are_those_of_the_degradations_but_for_rounding(pixels, kernel, scale) -> None:
    across, down = scale
    x = to_rgb_float(pixels)
    scaling = Scaling(across, down, kernel)
    reduced = scaling.reduce(x, scaling.lq_size(*x.shape[2:]))
    expected = kernel_down(pixels, kernel, scale)
    assert reduced.shape[2:] == expected.shape[:2]
    np.testing.assert_allclose(levels(reduced).clip(0, 255), expected, atol=0.51)
    plain = Scaling(across, down, kernel, shift=False)
    unshifted = plain.reduce(x, plain.lq_size(*x.shape[2:]))
    np.testing.assert_allclose(
        levels(unshifted).clip(0, 255), kernel_down(pixels, kernel, scale, shift=False), atol=0.51
    )


def test_bicubic_is_the_tables(pixels) -> None:
    x = to_rgb_float(pixels)
    scaling = Scaling(2, 2)
    small = scaling.reduce(x, (24, 33))
    np.testing.assert_allclose(levels(small).clip(0, 255), bicubic_down(pixels, 2), atol=1.01)  # rounds twice
    large = scaling.enlarge(x, (96, 132))
    np.testing.assert_allclose(levels(large).clip(0, 255), bicubic_up(pixels, 2), atol=0.51)


@pytest.mark.parametrize("scale", [(2.0, 2.0), (1.0, 1.7)])
def test_a_band_is_what_the_whole_is_away_from_its_ends(pixels, kernel, scale) -> None:
    x = to_rgb_float(pixels)
    for own in (None, kernel):
        scaling = Scaling(*scale, own)
        size = scaling.sr_size(*x.shape[2:])
        whole = scaling.enlarge(x, size)
        start, stop = (scaling.sr_size(row, 1)[0] for row in (13, 40))
        band = scaling.enlarge(x[:, :, 13:40], (stop - start, size[1]), Origin(lq=13, sr=start))
        torch.testing.assert_close(band[:, :, 6:-6], whole[:, :, start + 6 : stop - 6], rtol=0, atol=1e-6)
        back = scaling.reduce(whole, (48, 66))
        part = scaling.reduce(whole[:, :, start:stop], (27, 66), Origin(lq=13, sr=start))
        inner = scaling.reach()
        torch.testing.assert_close(
            part[:, :, inner:-inner], back[:, :, 13 + inner : 40 - inner], rtol=0, atol=1e-6
        )
