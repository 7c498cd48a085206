"""What a fit will take, from a few trial steps."""

from __future__ import annotations

import time

import torch

from hfsr.inference.runtime.memory import peak_memory

from .degrading import unchanged
from .fitting import Fitter
from .schedules import Schedule

__all__ = ["forecast"]

_STAGED = ("depth", "lr_g", "lr_z", "weight_d", "weight_mse")


def forecast(fitter: Fitter, schedule: Schedule) -> tuple[float, int]:
    """Seconds and peak bytes of one fit on this machine just now.

    The bytes are those of the process, or of the GPU it runs on: the trial did what takes most of them, steps
    of the last stage, in which everything is fitted.
    """
    generator = fitter.generator
    trial = Schedule(**{name: getattr(schedule, name)[-1:] for name in _STAGED}, iterations=(2,))
    trier = Fitter(generator, fitter.discriminator, candidates=min(10, fitter.candidates))
    side = generator.resolution
    device = generator.shared.weight.device
    target = torch.full((1, 3, side, side), 0.5, device=device)
    times = [time.monotonic()]
    for _ in trier.steps(target, unchanged, trial, 0):
        times.append(time.monotonic())
    search = (times[1] - times[0]) / trier.candidates * fitter.candidates
    return search + (times[3] - times[2]) * sum(schedule.iterations), peak_memory(device)
