"""The enlargements inside networks: MATLAB's numbers, and the same everywhere in the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hfsr.archs._resize import Bicubic, Bilinear
from hfsr.degradations import bicubic_up


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (19, 23)])
def test_bicubic_is_matlabs(factor, size):
    pixels = np.random.default_rng(0).integers(60, 190, (*size, 3), np.uint8)  # no value needs clamping
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    enlarged = Bicubic(factor)(image)[0].permute(1, 2, 0).numpy()
    assert np.abs(enlarged - bicubic_up(pixels, factor)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_is_that_of_torch(factor):
    image = torch.rand(2, 3, 9, 14)
    expected = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Bilinear(factor)(image), expected)


@pytest.mark.parametrize(("factor", "divisor"), [(1, 2), (1, 4), (3, 4)])
def test_a_reduction_is_matlabs_with_antialiasing(factor, divisor):
    """Against the formula of `imresize`, worked out px by px in the middle of a row."""
    row = torch.rand(48, dtype=torch.float64)
    found = Bicubic(factor, divisor)(row.float().expand(1, 1, divisor, 48))[0, 0, 0].double()
    shrink = factor / divisor
    middle = len(found) // 2
    for output in range(middle - 2, middle + 2):
        center = (output + 0.5) / shrink - 0.5
        weights = Bicubic.kernel((torch.arange(48, dtype=torch.float64) - center) * shrink)
        expected = (weights * row).sum() / weights.sum()
        assert abs(found[output] - expected) < 1e-6


@pytest.mark.parametrize("kind", [Bilinear, Bicubic])
def test_a_shifted_image_gives_the_same_numbers(kind):
    """However far from the border: interpolation by absolute coordinates drifts by 1e-4 at such widths."""
    enlarge = kind(3)
    image = torch.rand(1, 1, 4, 9000)
    whole = enlarge(image)[..., 3 * 8500 : 3 * 8600]
    part = enlarge(image[..., 8490:8610])[..., 3 * 10 : 3 * 110]
    torch.testing.assert_close(whole, part, rtol=0, atol=1e-6)
