"""Optimizers by name, and learning rates as functions of the iteration alone.

A schedule has no state: the rate of an iteration follows from its number, so a run that is stopped goes on
exactly where it was, and nothing is frozen or repeated.
"""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["OPTIMIZERS", "SCHEDULERS", "Schedule", "build_optimizer", "build_schedule"]

Schedule = Callable[[int], float]
"""Iteration (1 is the first) -> factor on the learning rate."""

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    name: getattr(torch.optim, name)
    for name in ("ASGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
}


def build_optimizer(name: str, parameters: Iterable[Tensor], **arguments: Any) -> torch.optim.Optimizer:
    """Builds an optimizer of torch.optim, fused where it offers that (one pass over the parameters)."""
    factory = OPTIMIZERS[name]
    if "fused" in inspect.signature(factory).parameters:
        arguments = {"fused": True, **arguments}
    optimizer = factory(list(parameters), **arguments)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # what schedules are relative to
    return optimizer


def multi_step(base: float, *, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """The rate times `gamma` from each milestone on."""
    ordered = sorted(int(milestone) for milestone in milestones)
    return lambda iteration: gamma ** bisect_right(ordered, iteration - 1)


def cosine_restart(
    base: float, *, periods: Sequence[int], restart_weights: Sequence[float] = (1.0,), eta_min: float = 0.0
) -> Schedule:
    """Half a cosine down to `eta_min` over each period; a period starts from its weight times the rate."""
    if len(restart_weights) == 1:
        restart_weights = list(restart_weights) * len(periods)
    if len(restart_weights) != len(periods):
        raise ValueError(f"{len(periods)} periods need as many restart_weights, not {len(restart_weights)}")
    ends = [sum(periods[: i + 1]) for i in range(len(periods))]
    floor = eta_min / base

    def factor(iteration: int) -> float:
        done = iteration - 1
        index = min(bisect_right(ends, done), len(ends) - 1)
        part = min(1.0, (done - (ends[index] - periods[index])) / periods[index])
        return floor + restart_weights[index] * 0.5 * (1 - floor) * (1 + math.cos(math.pi * part))

    return factor


def cosine(base: float, *, T_max: int, eta_min: float = 0.0) -> Schedule:  # noqa: N803  (the forks' word)
    """Half a cosine from the rate down to `eta_min` over `T_max` iterations, then constant."""
    return cosine_restart(base, periods=[T_max], eta_min=eta_min)


SCHEDULERS: Mapping[str, Callable[..., Schedule]] = {
    "CosineAnnealingRestartLR": cosine_restart,
    "MultiStepLR": multi_step,
    "MultiStepRestartLR": multi_step,
    "TrueCosineAnnealingLR": cosine,
}


def build_schedule(name: str | None, base: float, warmup_iter: int = -1, **arguments: Any) -> Schedule:
    """The factor on the learning rate over iterations, with a linear warm-up over the first `warmup_iter`.

    Args:
        name: a name of `SCHEDULERS`, or None for a constant rate.
        base: learning rate the factor is relative to.
    """
    schedule = SCHEDULERS[name](base, **arguments) if name else lambda _: 1.0
    if warmup_iter < 1:
        return schedule
    return lambda iteration: schedule(iteration) * min(1.0, iteration / warmup_iter)
