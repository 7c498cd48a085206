"""The tone curve: monotone, invertible, within the range of networks, and plain without highlights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfsr.inference.image_io.tone_curve import ToneCurve


def image_of(*values: float) -> np.ndarray:
    """Samples (10, 10, 3), mostly 0.3, with these values."""
    samples = np.full((10, 10, 3), 0.3, np.float32)
    samples.reshape(-1)[: len(values)] = values
    return samples


@pytest.mark.parametrize("is_linear", [True, False])
@pytest.mark.parametrize("brightest", [1, 1.001, 1.5, 8, 1e3, 65_504, 3e38])
@pytest.mark.parametrize("share", [1, 50, 200])
def test_it_is_monotone_and_inverted(is_linear, brightest, share):
    curve = ToneCurve.of(image_of(*[brightest] * share), is_linear=is_linear)
    samples = torch.cat([torch.linspace(0, 1, 1001), torch.logspace(0, np.log10(brightest), 500)])
    samples = samples.clamp(max=brightest)
    codes = curve.encode(samples)
    assert codes.min() == 0
    assert codes.max() == pytest.approx(1, abs=1e-5)
    assert (codes.diff()[samples.diff() > 1e-6 * samples[1:]] > 0).all()
    torch.testing.assert_close(curve.decode(codes), samples, rtol=2e-4, atol=1e-6)


def test_without_highlights_it_is_the_curve_of_srgb():
    samples = torch.linspace(0, 1, 256)
    expected = np.where(samples <= 0.0031308, 12.92 * samples, 1.055 * samples ** (1 / 2.4) - 0.055)
    curve = ToneCurve.of(image_of(1), is_linear=True)
    np.testing.assert_allclose(curve.encode(samples), expected, rtol=1e-5, atol=1e-7)
    assert ToneCurve.of(image_of(1), is_linear=False).encode(samples).tolist() == samples.tolist()


@pytest.mark.parametrize("brightest", [2, 1e3, 1e6])
def test_few_highlights_leave_most_of_the_range_to_the_others(brightest):
    plain, curve = (ToneCurve.of(image_of(value), is_linear=True) for value in (1, brightest))
    samples = torch.linspace(0, 1, 100)
    ratio = curve.encode(samples)[1:] / plain.encode(samples)[1:]
    assert ratio.min() >= 0.85 - 1e-6
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))  # the same curve, a little darker


def test_samples_of_another_unit_use_the_whole_range():
    curve = ToneCurve.of(np.linspace(0, 65_535, 3000, dtype=np.float32).reshape(10, 100, 3), is_linear=True)
    plain = ToneCurve.of(image_of(1), is_linear=True)
    relative = torch.linspace(0, 1, 100)
    assert (curve.encode(relative * 65_535) - plain.encode(relative)).abs().max() < 0.05


def test_overshoot_and_negative_codes_stay_finite():
    curve = ToneCurve.of(image_of(3e38), is_linear=True)
    values = curve.decode(torch.tensor([-1.0, 0.0, 1.0, 1.1, 2.0]))
    assert values.isfinite().all()
    assert values[:2].tolist() == [0, 0]
    assert (values.diff()[1:] >= 0).all()
