"""Tests of pixel losses against their formulas."""

from __future__ import annotations

import pytest
import torch

from hfsr import losses
from hfsr.registry import LOSSES

FORMULAS = {
    "L1Loss": lambda d: d.abs(),
    "MSELoss": lambda d: d * d,
    "CharbonnierLoss": lambda d: (d * d + 1e-12).sqrt(),
}


@pytest.fixture
def pair():
    return torch.rand(2, 3, 5, 4), torch.rand(2, 3, 5, 4)


@pytest.mark.parametrize("name", FORMULAS)
def test_matches_its_formula(name, pair):
    sr, gt = pair
    expected = FORMULAS[name](sr - gt)
    assert LOSSES[name] is getattr(losses, name)
    assert torch.allclose(LOSSES[name]()(sr, gt), expected.mean())
    assert torch.allclose(LOSSES[name](reduction="sum")(sr, gt), expected.sum())
    assert torch.allclose(LOSSES[name](reduction="none", loss_weight=0.5)(sr, gt), expected / 2)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_points_to_the_ground_truth(name, pair):
    sr, gt = pair
    sr.requires_grad_()
    LOSSES[name](loss_weight=3.0)(sr, gt).backward()
    assert torch.equal(sr.grad.sign(), (sr - gt).sign())


def test_charbonnier_is_smooth_at_zero():
    sr = torch.zeros(1, 1, 1, 1, requires_grad=True)
    loss = LOSSES["CharbonnierLoss"](eps=1e-6)(sr, torch.zeros(1, 1, 1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(1e-3)
    assert sr.grad.item() == 0
