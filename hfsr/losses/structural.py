"""Losses of restored images that are no plain mean over pixels: PSNR, spectra, MS-SSIM."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs import luma
from hfsr.errors import ImageError
from hfsr.registry import LOSSES

from .pixel import Reduction

__all__ = ["FFTLoss", "MSSSIML1Loss", "PSNRLoss", "SmoothL1Loss", "artifact_map"]

_SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""px: widths of the Gaussian windows of the five scales of MS-SSIM (Zhao et al.)."""


@LOSSES.register
class SmoothL1Loss(nn.Module):
    """Squared error below `beta`, absolute error above (Huber), as torch's `smooth_l1_loss`.

    Args:
        loss_weight: factor on the result.
        reduction: "mean" or "sum" over all elements, or "none".
        beta: difference at which the two meet.
    """

    def __init__(self, *, loss_weight: float = 1.0, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__()
        self.loss_weight, self.reduction, self.beta = loss_weight, reduction, beta

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: same shape. Returns: a scalar, or the input shape if reduction is "none"."""
        return self.loss_weight * F.smooth_l1_loss(sr, gt, reduction=self.reduction, beta=self.beta)


@LOSSES.register
class PSNRLoss(nn.Module):
    """Mean over the images of `10 log10(MSE + 1e-8)`: the negative PSNR in dB (HINet, NAFNet).

    Args:
        loss_weight: factor on the result.
        reduction: "mean".
        toY: compare the lumas (MATLAB's).
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        reduction: Literal["mean"] = "mean",
        toY: bool = False,  # noqa: N803  (name in option files)
    ) -> None:
        super().__init__()
        self.loss_weight, self.to_luma = loss_weight, toY

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: (B, C, H, W) in [0, 1]; RGB with `toY`. Returns: a scalar."""
        difference = luma(sr) - luma(gt) if self.to_luma else sr - gt
        mse = difference.square().mean(dim=(1, 2, 3))
        return self.loss_weight * (10 / math.log(10)) * torch.log(mse + 1e-8).mean()


@LOSSES.register
class FFTLoss(nn.Module):
    """L1 between the real and imaginary parts of the two-dimensional spectra (`rfft2`, unnormalized).

    Args:
        loss_weight: factor on the result.
        reduction: "mean" or "sum" over all parts of all frequencies.
    """

    def __init__(self, *, loss_weight: float = 1.0, reduction: Literal["mean", "sum"] = "mean") -> None:
        super().__init__()
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: (B, C, H, W). Returns: a scalar."""
        # Fourier transforms are not defined in half precision for all sizes.
        difference = torch.view_as_real(torch.fft.rfft2(sr.float() - gt.float())).abs()
        return self.loss_weight * (difference.mean() if self.reduction == "mean" else difference.sum())


@LOSSES.register
class MSSSIML1Loss(nn.Module):
    """`alpha (1 - MS-SSIM) + (1 - alpha) L1` with Gaussian windows at full resolution.

    Source: Zhao et al., Loss Functions for Image Restoration with Neural Networks, IEEE TCI 2017,
    https://arxiv.org/abs/1511.08861: five windows instead of five resolutions; L1 is weighted by the widest
    window. Windows are cut off at the borders of the image and renormalized.

    Args:
        loss_weight: factor on the result.
        alpha: share of MS-SSIM.
    """

    def __init__(self, *, loss_weight: float = 1.0, alpha: float = 0.84) -> None:
        super().__init__()
        self.loss_weight, self.alpha = loss_weight, alpha

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: (B, C, H, W) in [0, 1]. Returns: a scalar.

        Raises:
            ImageError: a side is shorter than 11 px.
        """
        if min(sr.shape[-2:]) < 11:
            raise ImageError(
                f"MSSSIML1Loss needs images of at least 11x11 px, not {sr.shape[-1]}x{sr.shape[-2]}"
            )
        sr, gt = sr.float(), gt.float()
        product = torch.ones_like(sr)
        for sigma in _SIGMAS:
            mean_sr, mean_gt = _windowed(sr, sigma), _windowed(gt, sigma)
            var_sr = _windowed(sr * sr, sigma) - mean_sr**2
            var_gt = _windowed(gt * gt, sigma) - mean_gt**2
            covariance = _windowed(sr * gt, sigma) - mean_sr * mean_gt
            product = product * (2 * covariance + 0.03**2) / (var_sr + var_gt + 0.03**2)
        luminance = (2 * mean_sr * mean_gt + 0.01**2) / (mean_sr**2 + mean_gt**2 + 0.01**2)
        structure = 1 - luminance * product
        distance = _windowed((sr - gt).abs(), _SIGMAS[-1])
        return self.loss_weight * (self.alpha * structure + (1 - self.alpha) * distance).mean()


def _windowed(x: Tensor, sigma: float) -> Tensor:
    """Gaussian means around every px, of the px inside of the image."""
    radius = math.ceil(2.5 * sigma)
    taps = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    line = torch.exp(-0.5 * (taps / sigma) ** 2)
    line = line / line.sum()
    return _along(_along(x, line, 2), line, 3)


def _along(x: Tensor, line: Tensor, dim: int) -> Tensor:
    shape = [1, 1, 1, 1]
    shape[dim] = len(line)
    padding = [0, 0]
    padding[dim - 2] = len(line) // 2
    kernel = line.reshape(shape)
    planes = x.reshape(-1, 1, *x.shape[-2:])
    weight = F.conv2d(torch.ones_like(planes[:1]), kernel, padding=padding)
    return (F.conv2d(planes, kernel, padding=padding) / weight).reshape(x.shape)


def artifact_map(gt: Tensor, sr: Tensor, averaged: Tensor, window: int = 7) -> Tensor:
    """Weights of the pixels that are likely artifacts of a generator.

    Source: LDL, Liang et al., CVPR 2022, https://arxiv.org/abs/2203.09195: the local variance of the residual
    times the fifth root of its variance over the image, where the averaged network has the smaller residual.

    Args:
        gt: ground truth, (B, C, H, W).
        sr: output of the network that learns.
        averaged: output of the averaged network.
        window: side in px, odd, of the neighborhood.

    Returns:
        (B, 1, H, W); gradients reach `sr`.
    """
    residual = (gt - sr).abs().sum(dim=1, keepdim=True)
    reference = (gt - averaged).abs().sum(dim=1, keepdim=True)
    whole = residual.var(dim=(1, 2, 3), keepdim=True) ** 0.2
    radius = window // 2
    near = F.pad(residual, [radius] * 4, mode="reflect").unfold(2, window, 1).unfold(3, window, 1)
    local = near.var(dim=(-2, -1))
    return (whole * local).masked_fill(residual < reference, 0)
