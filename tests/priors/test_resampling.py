"""Tests of the resampler: agreement with `hfsr.degradations`, and of bands with the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr.degradations import bicubic_down, bicubic_up, kernel_down
from hfsr.images import to_rgb_float
from hfsr.priors.resampling import BandOrigin, Resampler


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
def test_kernel_downsampling_matches_the_degradation(pixels, kernel, scale) -> None:
    scale_x, scale_y = scale
    x = to_rgb_float(pixels)
    resampler = Resampler(scale_x, scale_y, kernel)
    downsampled = resampler.downsample(x, resampler.lq_size(*x.shape[2:]))
    expected = kernel_down(pixels, kernel, scale)
    assert downsampled.shape[2:] == expected.shape[:2]
    np.testing.assert_allclose(levels(downsampled).clip(0, 255), expected, atol=0.51)
    plain = Resampler(scale_x, scale_y, kernel, shift=False)
    unshifted = plain.downsample(x, plain.lq_size(*x.shape[2:]))
    np.testing.assert_allclose(
        levels(unshifted).clip(0, 255), kernel_down(pixels, kernel, scale, shift=False), atol=0.51
    )


def test_bicubic_matches_matlab_degradation(pixels) -> None:
    x = to_rgb_float(pixels)
    resampler = Resampler(2, 2)
    small = resampler.downsample(x, (24, 33))
    np.testing.assert_allclose(levels(small).clip(0, 255), bicubic_down(pixels, 2), atol=1.01)  # rounds twice
    large = resampler.upsample(x, (96, 132))
    np.testing.assert_allclose(levels(large).clip(0, 255), bicubic_up(pixels, 2), atol=0.51)


@pytest.mark.parametrize("scale", [(2.0, 2.0), (1.0, 1.7)])
def test_bands_match_the_whole_image_inside_their_halo(pixels, kernel, scale) -> None:
    x = to_rgb_float(pixels)
    for own in (None, kernel):
        resampler = Resampler(*scale, own)
        size = resampler.sr_size(*x.shape[2:])
        whole = resampler.upsample(x, size)
        start, stop = (resampler.sr_size(row, 1)[0] for row in (13, 40))
        band = resampler.upsample(x[:, :, 13:40], (stop - start, size[1]), BandOrigin(lq=13, sr=start))
        torch.testing.assert_close(band[:, :, 6:-6], whole[:, :, start + 6 : stop - 6], rtol=0, atol=1e-6)
        back = resampler.downsample(whole, (48, 66))
        part = resampler.downsample(whole[:, :, start:stop], (27, 66), BandOrigin(lq=13, sr=start))
        inner = resampler.halo_rows()
        torch.testing.assert_close(
            part[:, :, inner:-inner], back[:, :, 13 + inner : 40 - inner], rtol=0, atol=1e-6
        )
