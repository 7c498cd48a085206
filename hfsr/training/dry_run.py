"""`hfsr train --check`: validates everything and times a few iterations; keeps nothing."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hfsr.options import TrainOptions

from .engine import Engine
from .loop.mixed_precision import TrainingPrecision, choose_precision
from .loop.prefetch import BatchPrefetcher
from .setup import build_batches
from .validation.validator import Validator

__all__ = ["DryRunReport", "check_training"]

_WARM_UP, _TIMED = 2, 5
"""Untimed and timed iterations."""


@dataclass(frozen=True)
class DryRunReport:
    """Predicted cost of a training run."""

    parameters: int
    images: int
    """Images of the training set."""
    validation_images: int
    device: str
    precision: TrainingPrecision
    seconds_per_iteration: float
    peak_memory_bytes: int
    """Peak memory of the GPU, or of this process if it trains on a CPU."""
    iterations: int
    """Iterations of the whole run."""

    def __str__(self) -> str:
        hours = self.seconds_per_iteration * self.iterations / 3600
        note = f"\n{self.precision.note}" if self.precision.note else ""
        milliseconds = self.seconds_per_iteration * 1000
        return (
            f"{self.parameters:,} parameters, {self.images} training and {self.validation_images} "
            f"validation images, on {self.device} in {self.precision.name}: {milliseconds:.1f} ms per "
            f"iteration, {hours:.1f} h for {self.iterations:,}, peak memory "
            f"{self.peak_memory_bytes / 2**20:,.0f} MiB{note}"
        )


def check_training(options: TrainOptions) -> DryRunReport:
    """Reads all the data, builds everything, validates the largest images and times a few iterations.

    Raises:
        HfsrError: for any error that would stop the training at its start.
    """
    options = options.model_copy(
        update={"logger": options.logger.model_copy(update={"use_tb_logger": False})}
    )
    with tempfile.TemporaryDirectory() as nowhere:
        engine = Engine(options, Path(nowhere))
        batches = build_batches(options, engine.accelerator)
        validation = Validator(options)
        validation_images = validation.read()
        engine.recipe.prepare(engine.accelerator)
        validation.try_largest(engine.published())
        stream = BatchPrefetcher(batches, 0)
        for _ in range(_WARM_UP):
            engine.step(stream)
        peak, begin = 0, time.perf_counter()
        for _ in range(_TIMED):
            losses, _ = engine.step(stream)
            peak = max(peak, psutil.Process().memory_info().rss)
        for value in losses.values():
            value.item()  # waits until the device has finished
        seconds = (time.perf_counter() - begin) / _TIMED
    device = engine.accelerator.device
    return DryRunReport(
        parameters=sum(p.numel() for p in engine.recipe.networks["net_g"].parameters()),
        images=len(batches.source),
        validation_images=validation_images,
        device=str(device),
        precision=choose_precision(options, device),
        seconds_per_iteration=seconds,
        peak_memory_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else peak,
        iterations=engine.total,
    )
