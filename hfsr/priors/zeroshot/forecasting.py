"""What an enlargement will take, from a few trial steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfsr.inference.runtime.memory import resident_memory

from .enlarging import Enlarger
from .learning import Learner

__all__ = ["TRIED", "Forecast", "forecast"]

TRIED = 384
"""Side in px of the largest picture that is tried: smaller ones stay in the caches and tell too little."""
_BYTES_PER_PX = 64 * 4 * 8 * 3
"""What learning keeps for one px of a father: eight maps of 64 channels, their gradients, and a copy."""


@dataclass(frozen=True)
class Forecast:
    """What one picture will take.

    Attributes:
        width, height: of the result, px.
        seconds: at most, from a few trial steps on this machine just now; learning may end sooner.
        bytes: peak memory of the process.
        parts: "whole" or "3 bands".
    """

    width: int
    height: int
    seconds: float
    bytes: int
    parts: str


def forecast(
    learner: Learner, enlarger: Enlarger, lq: Tensor, size: tuple[int, int], rounds: int
) -> Forecast:
    """Tries some iterations and one copy.

    Args:
        learner: of one round, which has not begun.
        enlarger: of the same.
        lq: what to try it on, (1, 3, h, w).
        size: rows and columns of the picture.
        rounds: how many times is learned and enlarged.
    """
    run = learner.run()
    next(run)  # the first one is slower
    started = time.monotonic()
    for _ in zip(range(3), run, strict=False):
        pass
    iteration = (time.monotonic() - started) / 3
    px = _seconds_of_enlarging(enlarger, lq) / lq[0, 0].numel()
    bands = enlarger.bands(*size)
    seen = sum(band.last - band.first for band in bands) * size[1]
    height, width = enlarger.scaling.sr_size(*size)
    fathers = _BYTES_PER_PX * learner.recipe.crop**2
    return Forecast(
        width=width,
        height=height,
        seconds=rounds * (iteration * learner.recipe.iterations + px * seen),
        bytes=int(resident_memory() + max(enlarger.bytes(*size), fathers) + 12 * width * height),
        parts="whole" if len(bands) == 1 else f"{len(bands)} bands",
    )


def _seconds_of_enlarging(enlarger: Enlarger, lq: Tensor) -> float:
    """Of all copies, from one of them."""
    result = torch.empty(1, 3, *enlarger.scaling.sr_size(lq.shape[2], lq.shape[3]))
    times = [time.monotonic()]
    for _ in replace(enlarger, folds=1).steps(lq, result):
        times.append(time.monotonic())
    times.append(time.monotonic())
    return enlarger.folds * (times[1] - times[0]) + times[2] - times[1]
