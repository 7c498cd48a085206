"""Adversarial losses on the logits of a discriminator, with BasicSR's argument names."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.registry import LOSSES

__all__ = ["GANLoss"]

GanType = Literal["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"]


@LOSSES.register
class GANLoss(nn.Module):
    """Mean adversarial loss of discriminator logits.

    Args:
        gan_type: `vanilla` is binary cross-entropy (as in SRGAN and ESRGAN), `lsgan` the squared error,
            `wgan` the logit itself, `wgan_softplus` its softplus, `hinge` the hinge loss with margin 1.
        real_label_val: label of real images, for `vanilla` and `lsgan`.
        fake_label_val: label of generated images, for `vanilla` and `lsgan`.
        loss_weight: factor on the generator's loss; that of the discriminator has weight 1.
    """

    def __init__(
        self,
        *,
        gan_type: GanType,
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.gan_type, self.loss_weight = gan_type, loss_weight
        self.labels = (fake_label_val, real_label_val)

    def forward(self, input: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        """Returns the mean loss.

        Args:
            input: logits of "real", any shape.
            target_is_real: True if the target label is "real".
            is_disc: True for the discriminator's loss.

        Returns:
            A scalar.
        """
        loss = self._mean_loss(input, target_is_real, is_disc)
        return loss if is_disc else loss * self.loss_weight

    def _mean_loss(self, logits: Tensor, real: bool, is_disc: bool) -> Tensor:
        sign = -1 if real else 1
        if self.gan_type == "wgan":
            return sign * logits.mean()
        if self.gan_type == "wgan_softplus":
            return F.softplus(sign * logits).mean()
        if self.gan_type == "hinge":
            return F.relu(1 + sign * logits).mean() if is_disc else -logits.mean()
        labels = torch.full_like(logits, self.labels[real])
        return (F.mse_loss if self.gan_type == "lsgan" else F.binary_cross_entropy_with_logits)(
            logits, labels
        )
