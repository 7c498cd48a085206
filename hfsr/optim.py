"""Optimizers by name, parameter groups, and learning-rate schedules.

Optimizers of torch.optim have the names of their classes (`AdamW`), those of timm their names there (`lamb`)
or the names of their classes (`Lion`).

A schedule is a function of the iteration without state, so a resumed run continues with exactly the same
learning rates.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import math
from bisect import bisect_left, bisect_right
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
    """Returns the optimizer of timm of that name or of a class of that name, or None."""
    try:
        _compat.import_torchvision()
        timm_optim = importlib.import_module("timm.optim")
    except (ModuleNotFoundError, MissingDependencyError):
        return None
    if name.lower() not in timm_optim.list_optimizers():
        return None
    info = timm_optim.get_optimizer_info(name.lower())
    if info.second_order or isinstance(info.opt_class, str):
        return None
    if not name.islower() and info.opt_class.__name__ != name:
        return None
    return timm_optim.get_optimizer_class(name.lower())


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


def cosine_cycles(
    base: float,
    *,
    periods: Sequence[int],
    eta_mins: Sequence[float],
    restart_weights: Sequence[float] = (1.0,),
) -> LRSchedule:
    """Cosine annealing in cycles: each starts at its weight times the base rate and ends at its own minimum.

    As in BasicSR, the iteration after `periods[0]` iterations is still the end of the first cycle.

    Raises:
        OptionsError: `periods`, `eta_mins` and `restart_weights` differ in length, `periods` is empty or has
            a period of 0, or the base rate is 0 but not the minimum.
    """
    if not periods or min(periods) < 1:
        raise OptionsError(
            f"a cosine over {list(periods)} iterations is not possible; use numbers of 1 or more"
        )
    if len(restart_weights) == 1:
        restart_weights = list(restart_weights) * len(periods)
    for name, values in (("restart_weights", restart_weights), ("eta_mins", eta_mins)):
        if len(values) != len(periods):
            raise OptionsError(f"{len(periods)} periods need as many {name}, not {len(values)}")
    ends = [sum(periods[: i + 1]) for i in range(len(periods))]
    floors = [_floor(eta_min, base) for eta_min in eta_mins]

    def factor(iteration: int) -> float:
        done = iteration - 1
        index = min(bisect_left(ends, done), len(ends) - 1)
        progress = min(1.0, (done - (ends[index] - periods[index])) / periods[index])
        floor = floors[index]
        return floor + restart_weights[index] * 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))

    return factor


def _floor(eta_min: float, base: float) -> float:
    """Returns the minimum of a learning rate as a factor on the base rate.

    Raises:
        OptionsError: the base rate is 0, of which no factor is the minimum.
    """
    if eta_min == 0:
        return 0.0
    if base == 0:
        raise OptionsError(
            f"a cosine from a learning rate of 0 to {eta_min:g} is not possible; set lr above 0, or the "
            "minimum of the scheduler to 0"
        )
    return eta_min / base


def cosine_restart(
    base: float, *, periods: Sequence[int], restart_weights: Sequence[float] = (1.0,), eta_min: float = 0.0
) -> LRSchedule:
    """As `cosine_cycles`, all cycles with the same minimum."""
    eta_mins = [eta_min] * len(periods)
    return cosine_cycles(base, periods=periods, eta_mins=eta_mins, restart_weights=restart_weights)


def cosine(base: float, *, T_max: int, eta_min: float = 0.0) -> LRSchedule:  # noqa: N803  (name in option files)
    """Cosine annealing from the base rate to `eta_min` over `T_max` iterations; then back, as torch's.

    Raises:
        OptionsError: `T_max` is below 1, or the base rate is 0 but not the minimum.
    """
    if T_max < 1:
        raise OptionsError(f"a cosine over {T_max} iterations is not possible; use a T_max of 1 or more")
    floor = _floor(eta_min, base)
    return lambda iteration: floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * (iteration - 1) / T_max))


def linear(base: float, *, total_iter: int) -> LRSchedule:
    """Linear decay from the base rate to 0 over `total_iter` iterations (LinearLR of BasicSR's forks)."""
    if total_iter < 1:
        raise OptionsError(f"LinearLR: total_iter {total_iter} is not possible; use 1 or more")
    return lambda iteration: max(0.0, 1 - (iteration - 1) / total_iter)


def vibrate(base: float, *, total_iter: int) -> LRSchedule:
    """Eighty triangular waves below a falling envelope (VibrateLR of BasicSR's forks).

    The envelope falls linearly from 1 to 0 over the first 3/8 of `total_iter`, then is 0.2 up to 5/8, then
    0.1. Within the first half wave the factor is at least 0.1.

    Raises:
        OptionsError: `total_iter` is too small for eighty waves of two iterations.
    """
    if total_iter < 160:
        raise OptionsError(f"VibrateLR: total_iter {total_iter} is too small; use 160 or more")
    wave = total_iter // 80
    half = wave // 2

    def factor(iteration: int) -> float:
        done = iteration - 1
        progress = done / total_iter
        envelope = 1 - progress * 8 / 3 if progress < 3 / 8 else 0.2 if progress < 5 / 8 else 0.1
        rise = done % wave / half
        weight = envelope * (rise if rise < 1 else 2 - rise)
        return max(0.1, weight) if done < half else weight

    return factor


SCHEDULERS: Mapping[str, Callable[..., LRSchedule]] = {
    "CosineAnnealingLR": cosine,
    "CosineAnnealingRestartCyclicLR": cosine_cycles,
    "CosineAnnealingRestartLR": cosine_restart,
    "LinearLR": linear,
    "MultiStepLR": multi_step,
    "MultiStepRestartLR": multi_step,
    "TrueCosineAnnealingLR": cosine,
    "VibrateLR": vibrate,
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
