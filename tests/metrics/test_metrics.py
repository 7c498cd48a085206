"""Tests of metrics: against scikit-image with the same settings, formulas, and reference values."""

from __future__ import annotations

import math
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch

from hfsr._compat import import_torchvision
from hfsr.data import read_rgb
from hfsr.errors import HfsrError, ImageError
from hfsr.images.color import rgb_to_y
from hfsr.metrics import dists, lpips, ms_ssim, perceptual, psnr, ssim, zncc
from hfsr.metrics.option_metrics import calculate_psnr, calculate_ssim


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


GOLDEN = {
    (0, "y"): (30.7477940200, 0.9190306680),
    (0, "rgb"): (28.7708065005, 0.9070776696),
    (2, "y"): (30.5183927914, 0.9167966387),
    (2, "rgb"): (28.5312664563, 0.9052218022),
    (4, "y"): (30.2249149199, 0.9163967572),
    (4, "rgb"): (28.2434729423, 0.9056449501),
}
"""PSNR in dB and SSIM of the pair in `golden`, by crop and channel, from plain loops and scikit-image. The
pair is a crop of the sample image, and the same crop downsampled by 2 and upsampled."""


@pytest.mark.parametrize(("crop", "channel"), GOLDEN)
def test_reference_values(crop, channel):
    sr, gt = (read_rgb(Path(__file__).parent / "golden" / f"{name}.png") for name in ("sr", "gt"))
    found = psnr(sr, gt, crop=crop, channel=channel), ssim(sr, gt, crop=crop, channel=channel)
    assert found == pytest.approx(GOLDEN[crop, channel], abs=1e-9)


@pytest.mark.parametrize("crop", [0, 3])
@pytest.mark.parametrize("shape", [(33, 47, 3), (11 + 6, 64, 3), (40, 40)])
def test_matches_scikit_image(shape, crop):
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


def test_cropped_border_is_ignored():
    sr, gt = _pair(30, 30, 3, noise=0)
    sr = sr.copy()
    sr[:4] = sr[-4:] = 0
    sr[:, :4] = sr[:, -4:] = 0
    assert psnr(sr, gt, crop=4) == math.inf
    assert psnr(sr, gt, crop=3) < 40
    assert ssim(sr, gt, crop=4) == 1.0


def test_gray_equals_rgb_with_equal_channels_and_float_is_not_rounded():
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
def test_invalid_images(sr, gt, options, message):
    with pytest.raises(ImageError, match=message):
        ssim(sr, gt, **options)


def test_unknown_channel():
    with pytest.raises(ValueError, match="choose 'y' or 'rgb'"):
        psnr(np.zeros((9, 9, 3)), np.zeros((9, 9, 3)), channel="luma")


def test_zncc_ignores_brightness_and_contrast():
    sr, gt = (x.astype(np.float64) for x in _pair(30, 32, 3))
    assert zncc(0.4 * gt + 50, gt) == pytest.approx(1)
    assert zncc(255 - gt, gt, channel="rgb") == pytest.approx(-1)
    assert zncc(np.full_like(gt, 9), gt) == 0
    expected = np.mean([np.corrcoef(sr[..., k].ravel(), gt[..., k].ravel())[0, 1] for k in range(3)])
    assert zncc(sr, gt, channel="rgb") == pytest.approx(expected)


def test_ms_ssim_matches_its_formula():
    sr, gt = _pair(176, 180, 3)
    a, b = rgb_to_y(sr), rgb_to_y(gt)
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        full = _ssim_parts(a, b)
        product *= full[0 if scale == 4 else 1] ** weight
        a, b = (x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2] for x in (a, b))
        a, b = (x.reshape(x.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for x in (a, b))
    assert ms_ssim(sr, gt) == pytest.approx(product, abs=1e-9)
    assert ms_ssim(gt, gt, channel="rgb") == pytest.approx(1)
    with pytest.raises(ImageError, match="at least 176 px"):
        ms_ssim(sr, gt, crop=1)


def _ssim_parts(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Returns the means of SSIM and of its contrast-structure term over valid windows."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def smooth(x):
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(x, (11, 11)), window)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = smooth(a), smooth(b)
    contrast = (2 * (smooth(a * b) - mean_a * mean_b) + c2) / (
        smooth(a * a) - mean_a**2 + smooth(b * b) - mean_b**2 + c2
    )
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(np.mean(luminance * contrast)), float(np.mean(contrast))


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """Empty weight folder of torchvision, and no network connection."""
    import_torchvision()
    pytest.importorskip("torchmetrics")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", _no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for network in (perceptual._lpips_network, perceptual._dists_network):
        network.cache_clear()
    yield folder
    for network in (perceptual._lpips_network, perceptual._dists_network):
        network.cache_clear()


def _no_network(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no network")


def test_missing_weights_are_one_line(torch_home):
    sr, gt = _pair(64, 64, 3)
    before = torch.random.get_rng_state()
    for metric, name in (
        (lpips, "LPIPS needs the weights alexnet"),
        (dists, "DISTS needs the weights vgg16"),
    ):
        message = rf"{name}-[\w-]+\.pth, .*checkpoints' .*no network.*put https"
        with pytest.raises(HfsrError, match=message) as caught:
            metric(sr, gt)
        assert "\n" not in str(caught.value)
    assert torch.equal(before, torch.random.get_rng_state())


def test_lpips_uses_weights_from_the_folder(torch_home):
    torchvision = import_torchvision()
    network = torchvision.models.squeezenet1_1(weights=None)
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    torch.save(network.state_dict(), torch_home / url.rsplit("/", 1)[-1])
    sr, gt = _pair(70, 66, 3)
    assert lpips(gt, gt, net="squeeze") == 0
    far, near = (lpips(x, gt, net="squeeze", crop=2) for x in (sr, (0.9 * gt + 0.1 * sr).astype(np.uint8)))
    assert 0 < near < far
    with pytest.raises(ImageError, match="at least 32 px"):
        lpips(sr[:31], gt[:31], net="squeeze")


def test_a_value_that_is_no_number_is_no_perfect_score() -> None:
    assert math.isnan(psnr(np.full((20, 20, 3), np.nan), np.zeros((20, 20, 3))))


def test_integers_of_16_bit_are_refused() -> None:
    image = np.full((20, 20, 3), 65535, np.uint16)
    with pytest.raises(ImageError, match="the result has uint16 values; need uint8 or floats"):
        psnr(image, image)


def test_gray_in_option_files_equals_three_equal_channels() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (24, 20), np.uint8)
    assert calculate_psnr(gray, np.repeat(gray[..., None], 3, 2), crop_border=0) == math.inf
    assert calculate_ssim(gray, np.repeat(gray[..., None], 3, 2), crop_border=0) == pytest.approx(1)
