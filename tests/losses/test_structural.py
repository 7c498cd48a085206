"""Tests of losses that are no plain mean over pixels, against independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hfsr import bridge, losses
from hfsr.errors import ImageError
from hfsr.registry import LOSSES


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 3, 14, 16, generator=generator), torch.rand(2, 3, 14, 16, generator=generator)


def test_smooth_l1_is_quadratic_near_zero_and_linear_beyond():
    sr, gt = torch.tensor([0.0, 0.1, 3.0, -3.0]), torch.zeros(4)
    expected = torch.tensor([0.0, 0.5 * 0.1**2 / 0.5, 3 - 0.25, 3 - 0.25])
    assert torch.allclose(LOSSES["SmoothL1Loss"](beta=0.5, reduction="none")(sr, gt), expected)
    assert torch.allclose(LOSSES["SmoothL1Loss"](beta=0.5, loss_weight=2)(sr, gt), 2 * expected.mean())


def test_psnr_loss_is_the_mean_negative_psnr(pair):
    sr, gt = (x.numpy().astype(np.float64) for x in pair)
    psnr = [10 * math.log10(1 / ((a - b) ** 2).mean()) for a, b in zip(sr, gt, strict=True)]
    assert LOSSES["PSNRLoss"](loss_weight=0.5)(*pair).item() == pytest.approx(-0.5 * np.mean(psnr), rel=1e-6)


def test_psnr_loss_of_lumas(pair):
    weights = np.array([65.481, 128.553, 24.966])[:, None, None] / 255
    sr, gt = ((x.numpy() * weights).sum(1) for x in pair)
    expected = np.mean([10 * math.log10(((a - b) ** 2).mean()) for a, b in zip(sr, gt, strict=True)])
    assert LOSSES["PSNRLoss"](toY=True)(*pair).item() == pytest.approx(expected, rel=1e-5)


def test_fft_loss_is_the_l1_of_the_spectra(pair):
    sr, gt = (np.fft.rfft2(x.numpy()) for x in pair)
    parts = np.stack([np.abs((sr - gt).real), np.abs((sr - gt).imag)])
    assert LOSSES["FFTLoss"]()(*pair).item() == pytest.approx(parts.mean(), rel=1e-4)
    assert LOSSES["FFTLoss"](reduction="sum", loss_weight=0.1)(*pair).item() == pytest.approx(
        0.1 * parts.sum(), rel=1e-4
    )


def dense_mean(image, sigma):
    """The windowed mean as one matrix product for each side, with windows cut off and renormalized."""

    def matrix(length):
        index = np.arange(length)
        distance = index[:, None] - index[None]
        weights = np.exp(-0.5 * (distance / sigma) ** 2) * (np.abs(distance) <= math.ceil(2.5 * sigma))
        return weights / weights.sum(1, keepdims=True)

    return matrix(image.shape[0]) @ image @ matrix(image.shape[1]).T


def test_ms_ssim_l1_is_its_formula(pair):
    total = []
    for sr, gt in zip(pair[0].reshape(-1, 14, 16), pair[1].reshape(-1, 14, 16), strict=True):
        a, b = sr.numpy().astype(np.float64), gt.numpy().astype(np.float64)
        product = 1.0
        for sigma in (0.5, 1, 2, 4, 8):
            mean_a, mean_b = dense_mean(a, sigma), dense_mean(b, sigma)
            var_a, var_b = dense_mean(a * a, sigma) - mean_a**2, dense_mean(b * b, sigma) - mean_b**2
            both = dense_mean(a * b, sigma) - mean_a * mean_b
            product = product * (2 * both + 9e-4) / (var_a + var_b + 9e-4)
        product = product * (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        total.append(0.84 * (1 - product) + 0.16 * dense_mean(np.abs(a - b), 8))
    assert LOSSES["MSSSIML1Loss"]()(*pair).item() == pytest.approx(np.mean(total), rel=1e-4)
    assert LOSSES["MSSSIML1Loss"]()(pair[0], pair[0]).item() == pytest.approx(0, abs=1e-5)


def test_ms_ssim_l1_of_small_images_is_refused():
    with pytest.raises(ImageError, match="at least 11x11 px, not 20x10"):
        LOSSES["MSSSIML1Loss"]()(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


@pytest.mark.parametrize("name", ["SmoothL1Loss", "PSNRLoss", "FFTLoss", "MSSSIML1Loss"])
def test_a_step_along_the_gradient_lowers_the_loss(name, pair):
    sr, gt = pair[0].clone().requires_grad_(), pair[1]
    loss = LOSSES[name]()
    before = loss(sr, gt)
    before.backward()
    assert loss(sr.detach() - 1e-4 * sr.grad / sr.grad.norm(), gt) < before


def test_artifact_map_is_basicsrs(pair):
    bridge.import_basicsr()
    from basicsr.losses.loss_util import get_refined_artifact_map

    averaged = (pair[0] + 0.3 * torch.randn(pair[0].shape, generator=torch.Generator().manual_seed(1))).clamp(
        0, 1
    )
    sr = pair[0].clone().requires_grad_()
    ours = losses.artifact_map(pair[1], sr, averaged)
    theirs = get_refined_artifact_map(pair[1], sr, averaged, 7)
    assert torch.allclose(ours, theirs, rtol=1e-5)
    assert 0 < (ours == 0).float().mean() < 1
    (gradient,) = torch.autograd.grad((ours * sr).sum(), sr)
    (expected,) = torch.autograd.grad((theirs * sr).sum(), sr)
    assert torch.allclose(gradient, expected, rtol=1e-4)
