"""One image of `hfsr upscale`: decoding, arithmetic and encoding, and the report about it."""

from __future__ import annotations

import argparse
import functools
import getpass
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from hfsr.cli.image_progress import show_progress
from hfsr.cli.input_files import STDIN, Job, MadeFolders
from hfsr.cli.upscale_models import Models
from hfsr.errors import HfsrError, ImageError, OptionsError
from hfsr.images.formats import SUFFIXES

if TYPE_CHECKING:
    from hfsr.images import LoadedImage
    from hfsr.images.decoding.encoded_image import EncodedImage
    from hfsr.inference import Upscaler
    from hfsr.inference.program.geometry import Size
    from hfsr.inference.result_size import WantedSize
    from hfsr.model_choice import ModelChoice

__all__ = ["KEYS", "JobRun", "Report", "failed_report", "memory_turn"]

P = ParamSpec("P")
Report = dict[str, Any]
KEYS = (
    *("input", "output", "width", "height", "scale", "reduced_from", "model", "model_reason", "tile"),
    *("dtype", "backend", "backend_reason", "device", "seconds", "peak_memory_bytes", "notes", "error"),
)
"""Keys of the JSON object of an image, in this order; a value without meaning is null."""
_RESULT = ("width", "height", "scale", "reduced_from")
"""Keys that have no meaning without a result."""
_LIGHT = 128 * 128
"""Px up to which an image takes little memory in any network."""
_DECODED_AHEAD = 1 << 24
"""Px up to which an image is decoded while another one is computed: larger ones take long anyway."""


def failed_report(job: Job, error: str) -> Report:
    """Returns the report about a job that failed."""
    return _new_report(job) | {"error": error}


def _new_report(job: Job, *, to_stdout: bool = False) -> Report:
    return dict.fromkeys(KEYS) | {
        "input": STDIN if job.is_stdin else str(job.source),
        "output": STDIN if to_stdout else job.target and str(job.target),
        "notes": [],
    }


def _records_errors(step: Callable[Concatenate[JobRun, P], None]) -> Callable[Concatenate[JobRun, P], None]:
    """Makes a step of a job put its error into the report, and do nothing if the job is over."""

    @functools.wraps(step)
    def run(self: JobRun, *args: P.args, **named: P.kwargs) -> None:
        if self.is_over:
            return
        try:
            step(self, *args, **named)
        except HfsrError as error:
            self.fail(error)
        except OSError as error:  # a path that the system rejects
            self.fail(f"'{self.job.source}': {error.strerror or error}; check the path")
        except MemoryError:
            self.fail(f"'{self.job.source}': not enough memory; close other programs or split the image")
        except Exception as error:  # a fault of hfsr or of a library: the other images may not have it
            self.fail(f"'{self.job.source}': {_describe_unexpected(error)}")

    return run


def _describe_unexpected(error: Exception) -> str:
    """Describes an exception that is no message to the user, with the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {text} ({Path(place.filename).name}:{place.lineno}); please report it, with the file"


class JobRun:
    """Run of one job: `prepare`, `load`, `compute`, `finish`, in this order.

    An error ends the job, not the others: the steps after it do nothing. Steps of different jobs may run at
    the same time, in different threads.

    Args:
        models: the models of the command.
        job: the image and the path of its result.
        args: arguments of the command.

    Attributes:
        report: what is known about the result so far; complete after `finish`.
        written: future of the result, after `compute`; None without a result.
        is_over: True after an error, or if there is nothing to do.
    """

    def __init__(self, models: Models, job: Job, args: argparse.Namespace) -> None:
        self.report = _new_report(job, to_stdout=args.to_stdout)
        self._models = models
        self.job = job
        self._args = args
        self.is_over = False
        self._image: EncodedImage
        self._size: tuple[int, int]
        self._choice: ModelChoice
        self._loaded: LoadedImage | None = None
        self._upscaler: Upscaler
        self._started = 0.0
        self.written: Future[None] | None = None

    @_records_errors
    def prepare(self) -> None:
        """Reads the size of the image, chooses its models, and decodes it if it is not large."""
        from hfsr.images import MAX_PIXELS, image_size, read_image
        from hfsr.images.decoding.encoded_image import EncodedImage

        job, args = self.job, self._args
        if job.error is not None:
            raise OptionsError(job.error)
        if job.target is None:
            endings = ", ".join(sorted(SUFFIXES))
            raise ImageError(f"no images in '{job.source}'; allowed endings: {endings}")
        self._image = EncodedImage.of(job.source)
        if job.is_stdin:
            self._image = EncodedImage(None, sys.stdin.buffer.read(), "<stdin>")
        limit = args.max_pixels or MAX_PIXELS
        try:
            self._size = image_size(self._image, max_pixels=limit)
        except ImageError:
            self.report["model"] = self._models.choice(self._image, None).name
            raise
        self._choice = self._models.choice(self._image, self._size)
        self.report |= {"model": self._choice.name, "model_reason": self._choice.reason}
        if args.skip_existing and not args.dry_run and os.path.exists(job.target):
            self.report["notes"] = ["the result exists already and was not replaced"]
            self.is_over = True
        elif not args.dry_run and self._size[0] * self._size[1] <= _DECODED_AHEAD:
            self._loaded = read_image(self._image, max_pixels=limit, truncated=args.truncated, floats=True)

    @_records_errors
    def load(self) -> None:
        """Loads the models, if no image before has."""
        self._started = time.monotonic()
        self._upscaler = self._models.get(self._choice.names)

    @_records_errors
    def compute(self, encoder: Executor, folders: MadeFolders, between: Callable[[], None]) -> None:
        """Runs the image, or predicts its run.

        Args:
            encoder: one thread, which encodes the result.
            folders: makes the folder of the result.
            between: called after each part of the image.
        """
        from hfsr.inference.program.geometry import Size

        up, wanted = self._upscaler, self._models.wanted
        size = Size(self._size[1], self._size[0])
        native = up.result_size(size)
        result = wanted.within(size, native, up.scale)
        self.report |= {
            "width": result.width,
            "height": result.height,
            "scale": _scale(wanted, up, size, result),
            "reduced_from": None if result == native else [native.width, native.height],
        }
        if self._args.dry_run:
            self.report |= _predict(up, self._image, size, result)
        else:
            self._upscale(size, result, encoder, folders, between)
        if self._choice.note is not None:
            self.report["notes"] = [*self.report["notes"], self._choice.note]

    @property
    def is_written(self) -> bool:
        """True if `finish` would not wait."""
        return self.written is None or self.written.done()

    def finish(self) -> Report:
        """Waits until the result is written; returns the report."""
        self._wait()
        if self.report["error"] is not None:
            self.report |= dict.fromkeys(_RESULT)
        return self.report

    def fail(self, error: HfsrError | str) -> None:
        """Ends the job with an error."""
        text = " ".join(str(error).split())
        is_named = isinstance(error, OptionsError) and self.job.error is None and self._models.wanted.is_set
        self.report["error"] = f"'{self.report['input']}': {text}" if is_named else text
        self.is_over = True

    @_records_errors
    def _wait(self) -> None:
        if self.written is not None:
            self.written.result()
            self.report["seconds"] = round(time.monotonic() - self._started, 3)

    def _upscale(
        self,
        size: Size,
        result: Size,
        encoder: Executor,
        folders: MadeFolders,
        between: Callable[[], None],
    ) -> None:
        from hfsr.inference.runtime.memory import peak_memory

        up, args, wanted = self._upscaler, self._args, self._models.wanted
        assert self.job.target is not None
        folders.make(self.job.target.parent)
        with memory_turn(up, self._image, size, args.local_processes):
            steps = up.steps(
                self._image if self._loaded is None else self._loaded,
                self.job.target,
                jpeg_quality=args.jpeg_quality,
                max_pixels=args.max_pixels,
                truncated=args.truncated,
                scale=wanted.scale,
                size=_sides(wanted, size),
                encoder=encoder,
            )
            self._loaded = None  # the steps hold it as long as they need it
            with closing(steps):
                name = self._image.name if self._image.path is None else self._image.path.name
                self.written = show_progress(
                    steps,
                    name=name,
                    pixels=result.width * result.height,
                    quiet=args.quiet,
                    between=between,
                )
        self.report |= {
            **_how(up),
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_bytes": peak_memory(up.device),
            "notes": list(up.notes),
        }


def _scale(wanted: WantedSize, up: Upscaler, image: Size, result: Size) -> float:
    if wanted.scale is not None:
        return wanted.scale
    return round(result.width / image.width, 4) if wanted.is_set else up.scale


def _sides(wanted: WantedSize, image: Size) -> tuple[int | None, int | None] | None:
    """The size that was asked for, as an `Upscaler` takes it."""
    if wanted.max_side is not None:
        is_wide = image.width >= image.height
        return (wanted.max_side, None) if is_wide else (None, wanted.max_side)
    return (wanted.width, wanted.height) if wanted.width or wanted.height else None


def memory_turn(up: Upscaler, image: EncodedImage, size: Size, processes: int) -> AbstractContextManager[Any]:
    """Returns a lock for an image that takes much of the memory: the processes run such images one at a time.

    Each process plans as if it were alone, so that the bands do not depend on their number. The lock is one
    of the file system, which is released when its process is killed.
    """
    from hfsr.images import image_bits
    from hfsr.inference.runtime.memory import planned_memory

    if processes == 1 or up.device.type != "cpu" or size.width * size.height <= _LIGHT:
        return nullcontext()
    plan = up.plan(size.width, size.height, image_bits(image))
    if plan.memory_bytes <= planned_memory(up.device) // (4 * processes):
        return nullcontext()
    from filelock import FileLock

    return FileLock(Path(tempfile.gettempdir(), f"hfsr-{getpass.getuser()}-memory.lock"))


def _predict(up: Upscaler, image: EncodedImage, size: Size, result: Size) -> dict[str, Any]:
    from hfsr.images import image_bits

    bits = image_bits(image)
    plan = up.plan(size.width, size.height, bits)
    forecast = up.forecast(size.width, size.height, bits, result=(result.width, result.height))
    return {
        **_how(up),
        "tile": plan.parts,
        "predicted_bytes": forecast.peak_bytes,
        "predicted_seconds": round(forecast.seconds, 1),
        "gflops": round(forecast.flops / 1e9, 1),
    }


def _how(up: Upscaler) -> dict[str, Any]:
    return {
        "tile": up.used_tile,
        "dtype": up.dtype_name,
        "backend": up.backend,
        "backend_reason": up.backend_reason,
        "device": str(up.device),
    }
