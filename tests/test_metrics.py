"""PSNR and SSIM against scikit-image with the same settings, and against hand-made numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hfsr.errors import ImageError
from hfsr.images.colour import rgb_to_y
from hfsr.metrics import psnr, ssim


def _pair(*shape: int, noise: float = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    gt = rng.integers(0, 256, shape, np.uint8)
    return np.clip(gt + rng.normal(0, noise, shape), 0, 255).astype(np.uint8), gt


def test_psnr_of_known_differences():
    gt = np.full((20, 20, 3), 100, np.uint8)
    sr = gt + np.uint8(5)
    assert psnr(sr, gt, channel="rgb") == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(sr, gt) == pytest.approx(20 * math.log10(255 / (5 * 219 / 255)))
    assert psnr(gt, gt) == math.inf
    assert ssim(gt, gt) == 1.0


@pytest.mark.parametrize("crop", [0, 3])
@pytest.mark.parametrize("shape", [(33, 47, 3), (11 + 6, 64, 3), (40, 40)])
def test_as_scikit_image(shape, crop):
    metrics = pytest.importorskip("skimage.metrics")
    sr, gt = _pair(*shape)
    inner = slice(crop, -crop or None)
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    rgb = [np.repeat(x[..., None], 3, 2) if x.ndim == 2 else x for x in (sr[inner, inner], gt[inner, inner])]
    luma = [rgb_to_y(x) for x in rgb]
    rgb = [x.astype(np.float64) for x in rgb]
    assert psnr(sr, gt, crop=crop) == pytest.approx(
        metrics.peak_signal_noise_ratio(*luma[::-1], data_range=255), abs=1e-9
    )
    assert psnr(sr, gt, crop=crop, channel="rgb") == pytest.approx(
        metrics.peak_signal_noise_ratio(*rgb[::-1], data_range=255), abs=1e-9
    )
    assert ssim(sr, gt, crop=crop) == pytest.approx(metrics.structural_similarity(*luma, **options), abs=1e-9)
    assert ssim(sr, gt, crop=crop, channel="rgb") == pytest.approx(
        metrics.structural_similarity(*rgb, channel_axis=2, **options), abs=1e-9
    )


def test_the_border_is_not_measured():
    sr, gt = _pair(30, 30, 3, noise=0)
    sr = sr.copy()
    sr[:4] = sr[-4:] = 0
    sr[:, :4] = sr[:, -4:] = 0
    assert psnr(sr, gt, crop=4) == math.inf
    assert psnr(sr, gt, crop=3) < 40
    assert ssim(sr, gt, crop=4) == 1.0


def test_gray_counts_as_three_equal_channels_and_float_is_measured_as_it_is():
    sr, gt = _pair(24, 24)
    stacked = [np.repeat(x[..., None], 3, 2) for x in (sr, gt)]
    for channel in ("y", "rgb"):
        assert psnr(sr, gt, channel=channel) == pytest.approx(psnr(*stacked, channel=channel))
        assert ssim(sr, gt, channel=channel) == pytest.approx(ssim(*stacked, channel=channel))
    assert psnr(gt + 0.25, gt, channel="rgb") == pytest.approx(20 * math.log10(255 / 0.25))


@pytest.mark.parametrize(
    ("sr", "gt", "options", "message"),
    [
        (np.zeros((20, 20, 3)), np.zeros((20, 21, 3)), {}, "20x20 px and the reference 21x20"),
        (np.zeros((20, 20, 4)), np.zeros((20, 20, 4)), {}, "result has shape"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 1)), {}, "reference has shape"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), {"crop": 5}, "at least 11 px"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), {"crop": -1}, "-1 px"),
    ],
)
def test_what_cannot_be_measured_is_one_line(sr, gt, options, message):
    with pytest.raises(ImageError, match=message):
        ssim(sr, gt, **options)


def test_an_unknown_channel_is_refused():
    with pytest.raises(ValueError, match="choose 'y' or 'rgb'"):
        psnr(np.zeros((9, 9, 3)), np.zeros((9, 9, 3)), channel="luma")
