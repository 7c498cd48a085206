"""Estimate of the time and memory of a zero-shot run, from a few trial steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfsr.inference.runtime.memory import resident_memory

from .self_training import ZeroShotTrainer
from .tiled_inference import BandedUpscaler

__all__ = ["TRIAL_SIDE", "CostEstimate", "estimate_cost"]

TRIAL_SIDE = 384
"""Side in px of the trial image; the time of smaller ones misleads, because they stay in the CPU caches."""
_TRAINING_BYTES_PER_PX = 64 * 4 * 8 * 3
"""Memory of a training step per px: eight maps of 64 channels in float32, their gradients, and a copy."""


@dataclass(frozen=True)
class CostEstimate:
    """Estimated cost of one image.

    Attributes:
        width, height: size of the result, px.
        seconds: upper bound under the present load of this machine; training may end sooner.
        bytes: peak memory of the process.
        parts: "whole" or, for example, "3 bands".
    """

    width: int
    height: int
    seconds: float
    bytes: int
    parts: str


def estimate_cost(
    trainer: ZeroShotTrainer, upscaler: BandedUpscaler, lq: Tensor, size: tuple[int, int], rounds: int
) -> CostEstimate:
    """Runs a few training iterations and one network pass, and extrapolates.

    Args:
        trainer: trainer of one round that has not started.
        upscaler: upscaler with the trainer's network.
        lq: trial image, (1, 3, h, w).
        size: (height, width) of the image to estimate for.
        rounds: number of times that the network is trained and the image is upscaled.
    """
    run = trainer.run()
    next(run)  # the first iteration is slower than the others
    started = time.monotonic()
    for _ in zip(range(3), run, strict=False):
        pass
    iteration = (time.monotonic() - started) / 3
    px_seconds = _upscaling_seconds(upscaler, lq) / lq[0, 0].numel()
    bands = upscaler.bands(*size)
    px = sum(band.halo_stop - band.halo_start for band in bands) * size[1]
    height, width = upscaler.resampler.sr_size(*size)
    training_bytes = _TRAINING_BYTES_PER_PX * trainer.config.crop**2
    return CostEstimate(
        width=width,
        height=height,
        seconds=rounds * (iteration * trainer.config.iterations + px_seconds * px),
        bytes=int(resident_memory() + max(upscaler.peak_bytes(*size), training_bytes) + 12 * width * height),
        parts="whole" if len(bands) == 1 else f"{len(bands)} bands",
    )


def _upscaling_seconds(upscaler: BandedUpscaler, lq: Tensor) -> float:
    """Returns the time of upscaling with the full ensemble, extrapolated from a single pass."""
    result = torch.empty(1, 3, *upscaler.resampler.sr_size(lq.shape[2], lq.shape[3]))
    times = [time.monotonic()]
    for _ in replace(upscaler, ensemble_size=1).steps(lq, result):
        times.append(time.monotonic())
    times.append(time.monotonic())
    return upscaler.ensemble_size * (times[1] - times[0]) + times[2] - times[1]
