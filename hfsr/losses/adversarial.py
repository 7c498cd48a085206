"""What a discriminator's logits cost, in BasicSR's words."""

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
    """Mean cost of logits that should say "real", or "fake".

    Args:
        gan_type: `vanilla` is the logarithm of a sigmoid (as in SRGAN and ESRGAN), `lsgan` a squared
            difference, `wgan` the logit itself, `wgan_softplus` its softplus, `hinge` a margin of 1.
        real_label_val: what "real" is for `vanilla` and `lsgan`.
        fake_label_val: what "fake" is for them.
        loss_weight: factor for generators; discriminators learn with 1.
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
        """The cost.

        Args:
            input: logits of "real", any shape.
            target_is_real: what they should say.
            is_disc: True where the discriminator learns from it.

        Returns:
            A scalar.
        """
        cost = self._cost(input, target_is_real, is_disc)
        return cost if is_disc else cost * self.loss_weight

    def _cost(self, logits: Tensor, real: bool, is_disc: bool) -> Tensor:
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
