"""Tests of learning-rate schedules and optimizers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from hfsr import bridge
from hfsr.errors import OptionsError
from hfsr.optim import OPTIMIZERS, build_optimizer, build_schedule

BASE = 2e-4


def torch_factors(scheduler, **arguments):
    """Returns the factors of a scheduler of torch in the first 40 iterations."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    torch_scheduler = scheduler(optimizer, **arguments)
    factors = []
    for _ in range(40):
        factors.append(optimizer.param_groups[0]["lr"] / BASE)
        optimizer.step()
        torch_scheduler.step()
    return factors


def factors_of(name, **arguments):
    schedule = build_schedule(name, BASE, **arguments)
    return [schedule(iteration) for iteration in range(1, 41)]


def test_multi_step_matches_torch():
    expected = torch_factors(MultiStepLR, milestones=[10, 25], gamma=0.5)
    assert factors_of("MultiStepLR", milestones=[25, 10], gamma=0.5) == pytest.approx(expected)


def test_multi_step_restarts_match_basicsr():
    bridge.import_basicsr()
    from basicsr.models.lr_scheduler import MultiStepRestartLR

    arguments = {"milestones": [5, 8, 12, 20, 24], "gamma": 0.5}
    arguments |= {"restarts": [0, 12, 22], "restart_weights": [1, 0.8, 0.3]}
    assert factors_of("MultiStepRestartLR", **arguments) == pytest.approx(
        torch_factors(MultiStepRestartLR, **arguments)
    )
    with pytest.raises(OptionsError, match="2 restarts need as many restart_weights, not 1"):
        build_schedule("MultiStepLR", BASE, milestones=[5], restarts=[0, 9])


@pytest.mark.parametrize("name", ["TrueCosineAnnealingLR", "CosineAnnealingLR"])
@pytest.mark.parametrize("period", [40, 15])
def test_cosine_matches_torch(name, period):
    expected = torch_factors(CosineAnnealingLR, T_max=period, eta_min=1e-7)
    assert factors_of(name, T_max=period, eta_min=1e-7) == pytest.approx(expected)


def test_cosine_restarts_match_basicsr():
    bridge.import_basicsr()
    from basicsr.models.lr_scheduler import CosineAnnealingRestartLR

    arguments = {"periods": [10, 20, 10], "restart_weights": [1, 0.5, 0.25], "eta_min": 1e-6}
    assert factors_of("CosineAnnealingRestartLR", **arguments) == pytest.approx(
        torch_factors(CosineAnnealingRestartLR, **arguments)
    )


def test_a_cosine_stays_at_its_minimum_after_the_last_period():
    schedule = build_schedule("CosineAnnealingRestartLR", BASE, periods=[10, 20], restart_weights=[1, 0.5])
    assert schedule(31) == schedule(1000) == pytest.approx(0)


def test_cyclic_cosine_has_a_minimum_for_each_cycle():
    schedule = build_schedule(
        "CosineAnnealingRestartCyclicLR",
        2e-4,
        periods=[10, 20],
        restart_weights=[1, 1],
        eta_mins=[3e-4, 1e-6],
    )
    for iteration in range(1, 31):
        done = iteration - 1
        start, period, lowest = (0, 10, 3e-4) if done <= 10 else (10, 20, 1e-6)
        expected = lowest + (2e-4 - lowest) * (1 + math.cos(math.pi * (done - start) / period)) / 2
        assert schedule(iteration) * 2e-4 == pytest.approx(expected)
    with pytest.raises(OptionsError, match="2 periods need as many eta_mins, not 1"):
        build_schedule("CosineAnnealingRestartCyclicLR", BASE, periods=[1, 2], eta_mins=[0])


def test_linear_decay():
    assert factors_of("LinearLR", total_iter=50) == pytest.approx([1 - done / 50 for done in range(40)])
    assert build_schedule("LinearLR", BASE, total_iter=50)(80) == 0


def test_vibrating_rate():
    """The envelope at the crests of its waves, and zero between them."""
    schedule = build_schedule("VibrateLR", BASE, total_iter=800)  # waves of 10 iterations
    assert [schedule(1 + done) for done in range(6)] == pytest.approx(
        [0.1, *((1 - done / 300) * done / 5 for done in range(1, 6))]
    )
    assert schedule(1 + 105) == pytest.approx(1 - 105 / 300)
    assert schedule(1 + 305) == pytest.approx(0.2)
    assert schedule(1 + 505) == pytest.approx(0.1)
    assert schedule(1 + 310) == pytest.approx(0)
    with pytest.raises(OptionsError, match="total_iter 100 is too small; use 160 or more"):
        build_schedule("VibrateLR", BASE, total_iter=100)


def test_periods_and_weights_must_have_equal_length():
    with pytest.raises(OptionsError, match="2 periods need as many restart_weights, not 3"):
        build_schedule("CosineAnnealingRestartLR", BASE, periods=[1, 2], restart_weights=[1, 1, 1])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("CosineAnnealingRestartLR", {"periods": []}),
        ("CosineAnnealingRestartLR", {"periods": [3, 0]}),
        ("TrueCosineAnnealingLR", {"T_max": 0}),
    ],
)
def test_empty_cosine_period(name, arguments):
    with pytest.raises(OptionsError, match=r"a cosine over .* iterations is not possible; use (a|numbers)"):
        build_schedule(name, BASE, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("TrueCosineAnnealingLR", {"T_max": 4, "eta_min": 1e-7}),
        ("CosineAnnealingRestartLR", {"periods": [4], "eta_min": 1e-7}),
        ("CosineAnnealingRestartCyclicLR", {"periods": [4, 4], "eta_mins": [0, 1e-7]}),
    ],
)
def test_a_cosine_from_a_rate_of_0_is_refused_unless_it_ends_there(name, arguments):
    with pytest.raises(OptionsError, match="a cosine from a learning rate of 0 to 1e-07 is not possible"):
        build_schedule(name, 0.0, **arguments)
    to_0 = {key: value for key, value in arguments.items() if key != "eta_min"}
    to_0 |= {"eta_mins": [0, 0]} if "eta_mins" in arguments else {}
    assert build_schedule(name, 0.0, **to_0)(2) > 0


def test_warm_up_is_linear():
    schedule = build_schedule(None, BASE, warmup_iter=4)
    assert [schedule(i) for i in range(1, 7)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert all(math.isclose(build_schedule(None, BASE)(i), 1) for i in (1, 100))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_decreases_the_loss(name):
    weight = torch.full((4,), 2.0, requires_grad=True)
    optimizer = build_optimizer(name, [weight], lr=0.01)
    weight.square().sum().backward()
    optimizer.step()
    assert bool((weight < 2).all())
    assert optimizer.param_groups[0]["initial_lr"] == 0.01


@pytest.mark.parametrize("arguments", [{"lr": -1.0}, {"lr": 1e-3, "betas": [2.0, 0.9]}, {"lr": 1, "bets": 2}])
def test_invalid_optimizer_arguments(arguments):
    with pytest.raises(OptionsError, match="the optimizer Adam cannot be built: ") as caught:
        build_optimizer("Adam", [torch.zeros(1, requires_grad=True)], **arguments)
    assert "\n" not in str(caught.value)


def test_lion_by_the_name_of_its_class():
    """The sign of a momentum, then weight decay on the weight before the step (Chen et al., 2023)."""
    weight = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    expected, momentum = weight.detach().clone(), torch.zeros(3)
    optimizer = build_optimizer("Lion", [weight], lr=0.01, betas=[0.9, 0.99], weight_decay=0.1)
    for gradient in (torch.tensor([0.5, -0.1, 0.2]), torch.tensor([-0.3, -0.4, 0.1])):
        weight.grad = gradient
        optimizer.step()
        expected *= 1 - 0.01 * 0.1
        expected -= 0.01 * (0.9 * momentum + 0.1 * gradient).sign()
        momentum = 0.99 * momentum + 0.01 * gradient
    assert torch.allclose(weight.detach(), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "known"), [("AdamP", True), ("adamp", True), ("ADAMP", False), ("Lio", False)]
)
def test_names_of_optimizers_of_timm(name, known):
    assert (name in OPTIMIZERS) is known
