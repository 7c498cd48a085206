"""Estimate of the time and memory of one generative fit, from a few trial steps."""

from __future__ import annotations

import time

import torch

from hfsr.inference.runtime.memory import peak_memory

from .fit_schedules import FitSchedule
from .fitting import GeneratorFitter
from .forward_models import identity

__all__ = ["estimate_cost"]

_PER_STAGE = ("depth", "lr_g", "lr_z", "weight_d", "weight_mse")


def estimate_cost(fitter: GeneratorFitter, schedule: FitSchedule) -> tuple[float, int]:
    """Returns the seconds and the peak bytes of one fit on this machine under its present load.

    The trial runs steps of the last stage, which optimizes all groups and thus needs the most memory. The
    bytes are those of the process, or those allocated on the GPU.
    """
    generator = fitter.generator
    trial = FitSchedule(**{name: getattr(schedule, name)[-1:] for name in _PER_STAGE}, iterations=(2,))
    trial_fitter = GeneratorFitter(generator, fitter.discriminator, candidates=min(10, fitter.candidates))
    side = generator.resolution
    device = generator.shared.weight.device
    target = torch.full((1, 3, side, side), 0.5, device=device)
    times = [time.monotonic()]
    for _ in trial_fitter.steps(target, identity, trial, 0):
        times.append(time.monotonic())
    search = (times[1] - times[0]) / trial_fitter.candidates * fitter.candidates
    return search + (times[3] - times[2]) * sum(schedule.iterations), peak_memory(device)
