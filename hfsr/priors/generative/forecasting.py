"""What a fit will take, from a few trial steps."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from .degrading import unchanged
from .fitting import Fitter
from .schedules import Schedule

__all__ = ["forecast"]

_STAGED = ("depth", "lr_g", "lr_z", "weight_d", "weight_mse")


def forecast(fitter: Fitter, schedule: Schedule) -> tuple[float, int]:
    """Seconds and peak bytes, beside the program and both networks, of one fit on this machine just now."""
    generator, discriminator = fitter.generator, fitter.discriminator
    maps = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal maps
        if isinstance(output, Tensor) and not list(module.children()):
            maps += output.nbytes

    handles = [m.register_forward_hook(count) for net in (generator, discriminator) for m in net.modules()]
    trial = Schedule(**{name: getattr(schedule, name)[-1:] for name in _STAGED}, iterations=(2,))
    trier = Fitter(generator, discriminator, candidates=min(10, fitter.candidates))
    side = generator.resolution
    target = torch.full((1, 3, side, side), 0.5, device=generator.shared.weight.device)
    times = [time.monotonic()]
    for _ in trier.steps(target, unchanged, trial, 0):
        times.append(time.monotonic())
    for handle in handles:
        handle.remove()
    search = (times[1] - times[0]) / trier.candidates * fitter.candidates
    weights = 4 * sum(p.numel() for p in generator.parameters())
    return search + (times[3] - times[2]) * sum(schedule.iterations), 4 * weights + maps
