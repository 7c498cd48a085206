"""Optimizers by name, parameter groups, and learning-rate schedules.

Optimizers of torch.optim have the names of their classes (`AdamW`), those of timm their names there (`lamb`).

A schedule is a function of the iteration without state, so a resumed run continues with exactly the same
learning rates.
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

__all__ = ["OPTIMIZERS", "SCHEDULERS", "LRSchedule", "build_optimizer", "build_schedule", "parameter_groups"]

LRSchedule = Callable[[int], float]
"""Maps the iteration, counted from 1, to a factor on the learning rate."""
Factory = Callable[..., torch.optim.Optimizer]


class _Optimizers(Mapping[str, Factory]):
    """Optimizers of torch by class name and of timm by timm's names.

    Iteration yields only those of torch, because importing timm is slow. Those of timm that need second
    derivatives (adahessian) or other packages (apex, bitsandbytes) are excluded.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._torch: dict[str, Factory] = {name: getattr(torch.optim, name) for name in names}

    def __getitem__(self, name: str) -> Factory:
        found = self._torch.get(name) or _timm_optimizer(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._torch or _timm_optimizer(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._torch)

    def __len__(self) -> int:
        return len(self._torch)


def _timm_optimizer(name: str) -> Factory | None:
    """Returns the optimizer of timm of that name, or None; timm's names are lower case."""
    if not name.islower():
        return None
    try:
        _compat.import_torchvision()
        timm_optim = importlib.import_module("timm.optim")
    except (ModuleNotFoundError, MissingDependencyError):
        return None
    if name not in timm_optim.list_optimizers():
        return None
    info = timm_optim.get_optimizer_info(name)
    if info.second_order or isinstance(info.opt_class, str):
        return None
    return timm_optim.get_optimizer_class(name)


OPTIMIZERS: Mapping[str, Factory] = _Optimizers(
    ("ASGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
)


def build_optimizer(
    name: str, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], **arguments: Any
) -> torch.optim.Optimizer:
    """Builds an optimizer; uses the fused implementation of torch if there is one.

    Args:
        name: a name of `OPTIMIZERS`.
        parameters: tensors, or the groups that `parameter_groups` returns.
        **arguments: arguments of the optimizer, such as `lr`.

    Raises:
        OptionsError: the learning rate is missing, or the optimizer rejects an argument.
    """
    factory = OPTIMIZERS[name]
    if "fused" in inspect.signature(factory).parameters and inspect.isclass(factory):
        arguments = {"fused": True, **arguments}
    try:
        optimizer = factory(list(parameters), **arguments)
    except (TypeError, ValueError) as error:  # raised by optimizers for invalid values
        raise OptionsError(f"the optimizer {name} cannot be built: {error}") from error
    if optimizer.defaults.get("lr") is None:
        raise OptionsError(f"the optimizer {name} needs a learning rate: set lr")
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # schedules scale this rate
    return optimizer


def parameter_groups(
    network: nn.Module, rules: Sequence[tuple[str, float]], *, lr: float | None
) -> list[dict[str, Any]]:
    """Groups the trainable parameters by learning rate.

    Args:
        network: parameters that do not require gradients are skipped.
        rules: pairs of a name pattern (`upsample.*`, `*.bias`) and a factor on the learning rate; the first
            matching pattern applies. A factor of 0 freezes the parameter.
        lr: learning rate that the factors scale.

    Raises:
        OptionsError: a pattern matches nothing, no trainable parameter is left, or `lr` is missing.
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
            f"param_groups: '{unused[0]}' matches no parameter of {type(network).__name__}, or only "
            f"parameters that an earlier pattern matches{suggest(unused[0], names)}"
        )
    if not groups:
        raise OptionsError(
            f"param_groups freeze all parameters of {type(network).__name__}: leave some trainable"
        )
    if lr is None:
        if groups.keys() != {1.0}:
            raise OptionsError("param_groups have factors on the learning rate: set lr of the optimizer")
        return [{"params": groups[1.0]}]
    return [{"params": parameters, "lr": lr * factor} for factor, parameters in groups.items()]


def multi_step(
    base: float,
    *,
    milestones: Sequence[int],
    gamma: float = 0.1,
    restarts: Sequence[int] = (0,),
    restart_weights: Sequence[float] = (1.0,),
) -> LRSchedule:
    """Multiplies the rate by `gamma` at each milestone; a restart sets it to its weight times the base.

    Raises:
        OptionsError: `restarts` and `restart_weights` differ in length.
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
) -> LRSchedule:
    """Cosine annealing to `eta_min` in each period; a period starts at its weight times the base rate.

    Raises:
        OptionsError: `periods` and `restart_weights` differ in length, or `periods` is empty or has a period
            of 0.
    """
    if not periods or min(periods) < 1:
        raise OptionsError(
            f"a cosine over {list(periods)} iterations is not possible; use numbers of 1 or more"
        )
    if len(restart_weights) == 1:
        restart_weights = list(restart_weights) * len(periods)
    if len(restart_weights) != len(periods):
        raise OptionsError(f"{len(periods)} periods need as many restart_weights, not {len(restart_weights)}")
    ends = [sum(periods[: i + 1]) for i in range(len(periods))]
    floor = eta_min / base

    def factor(iteration: int) -> float:
        done = iteration - 1
        index = min(bisect_right(ends, done), len(ends) - 1)
        progress = min(1.0, (done - (ends[index] - periods[index])) / periods[index])
        return floor + restart_weights[index] * 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))

    return factor


def cosine(base: float, *, T_max: int, eta_min: float = 0.0) -> LRSchedule:  # noqa: N803  (name in option files)
    """Cosine annealing from the base rate to `eta_min` over `T_max` iterations, then constant."""
    return cosine_restart(base, periods=[T_max], eta_min=eta_min)


SCHEDULERS: Mapping[str, Callable[..., LRSchedule]] = {
    "CosineAnnealingRestartLR": cosine_restart,
    "MultiStepLR": multi_step,
    "MultiStepRestartLR": multi_step,
    "TrueCosineAnnealingLR": cosine,
}


def build_schedule(name: str | None, base: float, warmup_iter: int = -1, **arguments: Any) -> LRSchedule:
    """Builds a schedule, with a linear warm-up over the first `warmup_iter` iterations.

    Args:
        name: a name of `SCHEDULERS`, or None for a constant rate.
        base: base learning rate, which the schedule's factor scales.
        warmup_iter: number of warm-up iterations; -1 for none.
        **arguments: arguments of the schedule.
    """
    schedule = SCHEDULERS[name](base, **arguments) if name else lambda _: 1.0
    if warmup_iter < 1:
        return schedule
    return lambda iteration: schedule(iteration) * min(1.0, iteration / warmup_iter)
