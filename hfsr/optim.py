"""Optimizers by name, and learning rates as functions of the iteration alone.

Optimizers: those of torch.optim by the names of their classes (`AdamW`), those of timm by theirs (`lamb`).

A schedule has no state: the rate of an iteration follows from its number, so a run that is stopped goes on
exactly where it was, and nothing is frozen or repeated.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import _compat
from hfsr.errors import MissingDependencyError, OptionsError, suggest

__all__ = ["OPTIMIZERS", "SCHEDULERS", "Schedule", "build_optimizer", "build_schedule", "parameter_groups"]

Schedule = Callable[[int], float]
"""Iteration (1 is the first) -> factor on the learning rate."""
Factory = Callable[..., torch.optim.Optimizer]


class _Optimizers(Mapping[str, Factory]):
    """torch's by class name, then timm's by timm's names; iterating names torch's, as timm is slow to import.

    Left out of timm's are those that need a second derivative (adahessian) or packages of their own (apex,
    bitsandbytes).
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._torch: dict[str, Factory] = {name: getattr(torch.optim, name) for name in names}

    def __getitem__(self, name: str) -> Factory:
        found = self._torch.get(name) or _of_timm(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._torch or _of_timm(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._torch)

    def __len__(self) -> int:
        return len(self._torch)


def _of_timm(name: str) -> Factory | None:
    """timm's optimizer of that name, or None; its names are of small letters."""
    if not name.islower():
        return None
    try:
        _compat.import_torchvision()
        theirs = importlib.import_module("timm.optim")
    except (ModuleNotFoundError, MissingDependencyError):
        return None
    if name not in theirs.list_optimizers():
        return None
    info = theirs.get_optimizer_info(name)
    if info.second_order or isinstance(info.opt_class, str):
        return None
    return theirs.get_optimizer_class(name)


OPTIMIZERS: Mapping[str, Factory] = _Optimizers(
    ("ASGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
)


def build_optimizer(
    name: str, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], **arguments: Any
) -> torch.optim.Optimizer:
    """Builds an optimizer, fused where torch offers that (one pass over the parameters).

    Args:
        name: a name of `OPTIMIZERS`.
        parameters: tensors, or groups of them as `parameter_groups` makes them.

    Raises:
        OptionsError: no learning rate, or a value that the optimizer cannot use.
    """
    factory = OPTIMIZERS[name]
    if "fused" in inspect.signature(factory).parameters and inspect.isclass(factory):
        arguments = {"fused": True, **arguments}
    try:
        optimizer = factory(list(parameters), **arguments)
    except (TypeError, ValueError) as error:  # theirs, of values they cannot use
        raise OptionsError(f"the optimizer {name} cannot be built: {error}") from error
    if optimizer.defaults.get("lr") is None:
        raise OptionsError(f"the optimizer {name} needs its learning rate: give lr")
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # what schedules are relative to
    return optimizer


def parameter_groups(
    network: nn.Module, rules: Sequence[tuple[str, float]], *, lr: float | None
) -> list[dict[str, Any]]:
    """The parameters that learn, in groups of one rate each.

    Args:
        network: parameters that are frozen already are left out.
        rules: pattern of names (`upsample.*`, `*.bias`) and factor on the rate; the first that matches a name
            counts. A factor of 0 freezes.
        lr: the rate that the factors are of.

    Raises:
        OptionsError: a pattern that matches nothing, nothing left to learn, or factors without a rate.
    """
    groups: dict[float, list[Tensor]] = {}
    unused = [pattern for pattern, _ in rules]
    for name, parameter in network.named_parameters():
        pattern, factor = next((rule for rule in rules if fnmatch.fnmatchcase(name, rule[0])), ("", 1.0))
        if pattern in unused:
            unused.remove(pattern)
        if factor == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            groups.setdefault(factor, []).append(parameter)
    if unused:
        names = [name for name, _ in network.named_parameters()]
        raise OptionsError(
            f"param_groups: '{unused[0]}' matches no parameter of {type(network).__name__}, or none that an "
            f"earlier pattern leaves{suggest(unused[0], names)}"
        )
    if not groups:
        raise OptionsError(f"nothing of {type(network).__name__} is left to learn: param_groups freeze all")
    if lr is None:
        if groups.keys() != {1.0}:
            raise OptionsError("param_groups have factors on the learning rate: give lr to the optimizer")
        return [{"params": groups[1.0]}]
    return [{"params": parameters, "lr": lr * factor} for factor, parameters in groups.items()]


def multi_step(
    base: float,
    *,
    milestones: Sequence[int],
    gamma: float = 0.1,
    restarts: Sequence[int] = (0,),
    restart_weights: Sequence[float] = (1.0,),
) -> Schedule:
    """The rate times `gamma` from each milestone on; at a restart it is its weight times the rate again.

    Raises:
        OptionsError: restarts and their weights differ in number.
    """
    if len(restart_weights) != len(restarts):
        raise OptionsError(
            f"{len(restarts)} restarts need as many restart_weights, not {len(restart_weights)}"
        )
    ordered = sorted(int(milestone) for milestone in milestones)
    starts = sorted({0: 1.0, **dict(zip(restarts, restart_weights, strict=True))}.items())

    def factor(iteration: int) -> float:
        done = iteration - 1
        start, weight = next(each for each in reversed(starts) if each[0] <= done)
        return weight * gamma ** (bisect_right(ordered, done) - bisect_right(ordered, start))

    return factor


def cosine_restart(
    base: float, *, periods: Sequence[int], restart_weights: Sequence[float] = (1.0,), eta_min: float = 0.0
) -> Schedule:
    """Half a cosine down to `eta_min` over each period; a period starts from its weight times the rate.

    Raises:
        OptionsError: periods and their weights differ in number, or there is no period, or an empty one.
    """
    if not periods or min(periods) < 1:
        raise OptionsError(f"a cosine over {list(periods)} iterations is not possible; use numbers from 1 on")
    if len(restart_weights) == 1:
        restart_weights = list(restart_weights) * len(periods)
    if len(restart_weights) != len(periods):
        raise OptionsError(f"{len(periods)} periods need as many restart_weights, not {len(restart_weights)}")
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
