"""Jobs: an image file in, a result out, with progress; closing a job's generator cancels it.

The result is, pixel for pixel, what `hfsr upscale` and `hfsr zeroshot` write with the same options.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import hfsr
from hfsr import images

from . import limits
from .catalog import ModelCatalog, load
from .choices import Choice, Settings, choose, expected_seconds, record_seconds
from .messages import (
    JobProgress,
    format_size,
    tile_progress,
    training_progress,
    translate_errors,
    visitor_error,
)
from .results import Result, describe
from .uploads import check_pixels, delete_leftovers

Details = Sequence[tuple[str, str]]
JobSteps = Generator[tuple[JobProgress, Details], None, None]
"""Yields the progress, and technical details of the run, after each step."""

# On ZeroGPU, functions with this decorator run in a process with a GPU; elsewhere it changes nothing.
on_gpu = getattr(sys.modules.get("spaces"), "GPU", None) or (lambda **_: lambda function: function)


def upscale(catalog: ModelCatalog, source: Path, settings: Settings) -> Iterator[JobProgress | Result]:
    """Runs the models for an image; yields the progress, and the result at the end.

    The files of the result are deleted with the generator.

    Raises:
        gr.Error: the image or the settings are not possible.
    """
    yield JobProgress("Getting ready")
    with translate_errors(source):
        if settings.self_ensemble:
            check_pixels(source, limits.MAX_ENSEMBLE_PIXELS, "with self-ensemble")
        else:
            check_pixels(source, limits.MAX_PIXELS)
        choice = choose(catalog, source, settings)
        if choice.result.width * choice.result.height > limits.MAX_RESULT:
            raise visitor_error(
                f"a result of {format_size(choice.result.width, choice.result.height)} px is too large here; "
                f"the limit is {limits.MAX_RESULT:,} px"
            )
        for name in choice.models:
            load(name)  # loaded here, so that ZeroGPU's process inherits it
        ensemble = settings.self_ensemble
        expected = expected_seconds(choice.models, choice.image, self_ensemble=ensemble)
        if expected is not None:
            yield JobProgress("Getting ready", 0, expected)
        facts = [
            ("Model", _name(choice)),
            ("Input", f"{format_size(choice.image.width, choice.image.height)} px"),
        ]
        keeps_size = choice.result == choice.image and settings.model in catalog.by_model
        started = time.monotonic()
        yield from run_job(
            source,
            f"{source.stem}{choice.suffix}.{settings.format}",
            lambda target: run_model(source, target, choice, settings),
            facts=facts,
            strength=settings.strength,
            task=catalog.by_model[settings.model].task if keeps_size else None,
        )
        record_seconds(choice.models, choice.image, time.monotonic() - started, self_ensemble=ensemble)


def zeroshot(source: Path, *, scale: int, kind: str) -> Iterator[JobProgress | Result]:
    """Runs zero-shot super-resolution; yields the same as `upscale`."""
    yield JobProgress("Getting ready")
    with translate_errors(source):
        check_pixels(source, limits.MAX_LEARNED_PIXELS // scale**2, f"for zero-shot enlargement by {scale}")
        name = f"{source.stem}_zeroshot_x{scale}.png"
        yield from run_job(source, name, lambda target: run_zeroshot(source, target, scale, kind))


def run_job(
    source: Path,
    name: str,
    work: Callable[[Path], JobSteps],
    *,
    facts: Details = (),
    strength: float = 1,
    task: str | None = None,
) -> Iterator[JobProgress | Result]:
    """Runs `work` in a temporary folder, which is deleted with the generator, and describes its result."""
    started = time.monotonic()
    delete_leftovers()
    with TemporaryDirectory(prefix="hfsr-") as folder:
        target = Path(folder, name)
        details: Details = ()
        with closing(work(target)) as steps:
            for progress, details in steps:  # noqa: B007 - the last details are reported at the end
                yield progress
        seconds = time.monotonic() - started
        yield describe(
            source, target, seconds=seconds, strength=strength, task=task, details=[*facts, *details]
        )


@on_gpu(duration=limits.GPU_SECONDS)
def run_model(source: Path, target: Path, choice: Choice, settings: Settings) -> JobSteps:
    """Writes the result of the models to `target`.

    Raises:
        HfsrError: the image cannot be read or is too large, or the options are incompatible.
    """
    upscaler = hfsr.Upscaler(
        [load(name) for name in choice.models],
        tile=settings.tile,
        dtype=settings.dtype,
        self_ensemble=settings.self_ensemble,
    )
    size = (choice.wanted.width, None) if choice.wanted.width else None
    steps = upscaler.steps(source, target, max_pixels=limits.MAX_PIXELS, scale=choice.wanted.scale, size=size)
    with closing(steps):
        for progress in steps:
            details = [("Computed by", upscaler.summary), ("Notes", "; ".join(upscaler.notes))]
            yield tile_progress(progress), [detail for detail in details if detail[1]]


@on_gpu(duration=limits.GPU_SECONDS)
def run_zeroshot(source: Path, target: Path, scale: int, kind: str) -> JobSteps:
    """Writes the zero-shot result to `target`.

    Args:
        source: the image file.
        target: file to write.
        scale: integer scale.
        kind: "bicubic", "estimate" or "real", as for `hfsr zeroshot`.

    Raises:
        HfsrError: the image cannot be read, or is too small or too large.
    """
    zero_shot = hfsr.ZeroShot(scale=scale, kernel="bicubic" if kind == "real" else kind, real=kind == "real")
    max_pixels = limits.MAX_LEARNED_PIXELS // scale**2
    estimate = zero_shot.estimate_cost(*images.image_size(source, max_pixels=max_pixels))
    yield JobProgress("Learning, often in less time", 0, estimate.seconds), ()
    hardware = f"{zero_shot.dtype_name} on {zero_shot.device}"
    losses: list[float] = []
    trained_steps = 0
    with closing(zero_shot.steps(source, target, max_pixels=max_pixels)) as steps:
        for step in steps:
            if step.loss is not None:
                losses.append(step.loss)
                trained_steps = step.done
            computed = f"ZSSR x{scale}, learned in {trained_steps} steps, {hardware}"
            yield training_progress(step, losses), [("Computed by", computed)]


def _name(choice: Choice) -> str:
    names = " + ".join(map(str, choice.models))
    return f"{names} (chosen: {choice.reason})" if choice.reason else names
