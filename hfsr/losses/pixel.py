"""Pixel losses, with BasicSR's argument names."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.registry import LOSSES

__all__ = ["CharbonnierLoss", "L1Loss", "MSELoss", "Reduction"]

Reduction = Literal["mean", "sum", "none"]


@LOSSES.register
class L1Loss(nn.Module):
    """Mean absolute error.

    Args:
        loss_weight: factor on the result.
        reduction: "mean" or "sum" over all elements, or "none".
    """

    def __init__(self, *, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: same shape. Returns: a scalar, or the input shape if reduction is "none"."""
        return self.loss_weight * F.l1_loss(sr, gt, reduction=self.reduction)


@LOSSES.register
class MSELoss(nn.Module):
    """Mean squared error; arguments as for `L1Loss`."""

    def __init__(self, *, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: same shape. Returns: a scalar, or the input shape if reduction is "none"."""
        return self.loss_weight * F.mse_loss(sr, gt, reduction=self.reduction)


@LOSSES.register
class CharbonnierLoss(nn.Module):
    """Charbonnier loss `sqrt(difference^2 + eps)`, a smooth version of L1.

    Args:
        loss_weight: factor on the result.
        reduction: "mean" or "sum" over all elements, or "none".
        eps: added to the square, as in BasicSR; the 1e-3 of MIRNet's paper corresponds to 1e-6 here.
    """

    def __init__(
        self, *, loss_weight: float = 1.0, reduction: Reduction = "mean", eps: float = 1e-12
    ) -> None:
        super().__init__()
        self.loss_weight, self.reduction, self.eps = loss_weight, reduction, eps

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: same shape. Returns: a scalar, or the input shape if reduction is "none"."""
        distance = torch.sqrt((sr - gt).square() + self.eps)
        if self.reduction == "none":
            return self.loss_weight * distance
        return self.loss_weight * (distance.mean() if self.reduction == "mean" else distance.sum())
