"""Tests of adversarial losses against BasicSR."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hfsr import bridge
from hfsr.losses import GANLoss


def test_vanilla_is_binary_cross_entropy():
    logits, loss = torch.randn(5, 1), GANLoss(gan_type="vanilla", loss_weight=1e-3)
    assert torch.allclose(loss(logits, True), -1e-3 * F.logsigmoid(logits).mean())
    assert torch.allclose(loss(logits, False, is_disc=True), -F.logsigmoid(-logits).mean())


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_matches_basicsr(gan_type):
    bridge.import_basicsr()
    from basicsr.losses.gan_loss import GANLoss as BasicSRLoss

    arguments = {"gan_type": gan_type, "real_label_val": 0.9, "fake_label_val": 0.1, "loss_weight": 0.3}
    ours, theirs, logits = GANLoss(**arguments), BasicSRLoss(**arguments), torch.randn(4, 1)
    for real in (True, False):
        for is_disc in (True, False):
            assert torch.allclose(ours(logits, real, is_disc), theirs(logits, real, is_disc))
