"""One image of `hfsr upscale`: its models, its run, and the report about it."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli.image_progress import show_progress
from hfsr.cli.input_files import STDIN, Job, folder_of
from hfsr.errors import HfsrError, ImageError, OptionsError, UsageError
from hfsr.images.formats import SUFFIXES
from hfsr.model_choice import ModelChoice, choose_models

if TYPE_CHECKING:
    from torch import nn

    from hfsr.images.decoding.encoded_image import EncodedImage, ImageFile
    from hfsr.inference import Upscaler
    from hfsr.inference.program.geometry import Size
    from hfsr.inference.result_size import WantedSize

__all__ = ["KEYS", "Models", "failed_report", "run_jobs"]

_SCALE = 2
"""Default scale."""
_LIGHT = 128 * 128
"""Px up to which an image takes little memory in any network."""
KEYS = (
    *("input", "output", "width", "height", "scale", "reduced_from", "model", "model_reason", "tile"),
    *("dtype", "backend", "device", "seconds", "peak_memory_bytes", "notes", "error"),
)
"""Keys of the JSON object of an image, in this order; a value without meaning is null."""
_RESULT = ("width", "height", "scale", "reduced_from")
"""Keys that have no meaning without a result."""


class Models:
    """The models of one command, loaded when the first image needs them."""

    def __init__(self, args: argparse.Namespace) -> None:
        from hfsr.inference.result_size import WantedSize

        self._args = args
        self._networks: dict[str, nn.Module] = {}
        self._loaded: dict[tuple[str, ...], Upscaler] = {}
        try:
            self.wanted = WantedSize(args.scale, args.width, args.height, args.max_side)
        except OptionsError as error:
            raise UsageError(str(error)) from error

    def suffix(self) -> str:
        """Returns the suffix of the results' names: the scale or size that the arguments request."""
        args, wanted = self._args, self.wanted
        if wanted.width and wanted.height:
            return f"_{wanted.width}x{wanted.height}"
        for letter, side in (("w", wanted.width), ("h", wanted.height), ("max", wanted.max_side)):
            if side:
                return f"_{letter}{side}"
        if wanted.scale is not None:
            scale = wanted.scale
        elif args.model is not None:
            scale = self.get((args.model,)).scale
        else:
            scale = 1 if args.command == "restore" else _SCALE
        return f"_x{scale:g}" if scale > 1 else "_restored"

    def choice(self, image: ImageFile, size: tuple[int, int] | None) -> ModelChoice:
        """Returns the model that the arguments name, or the bundled ones for an image.

        Args:
            image: file of the image.
            size: width and height, or None if they cannot be read.
        """
        from hfsr.inference.program.geometry import Size

        args = self._args
        if args.model is not None:
            return ModelChoice((str(args.model),))
        scale = self.wanted.scale
        if scale is None and size is not None:
            scale = self.wanted.scale_of(Size(size[1], size[0]))
        if args.command == "restore" and (scale is None or scale == 1):
            return ModelChoice(("hfsr-denoise",))
        return choose_models(image, scale=_SCALE if scale is None else scale, purpose=args.purpose)

    def get(self, names: tuple[str, ...]) -> Upscaler:
        """Returns the cached upscaler of one model, or of several that run one after another."""
        from hfsr.inference import Upscaler

        args = self._args
        if names not in self._loaded:
            self._loaded[names] = Upscaler(
                [self._network(name) for name in names],
                tile=args.tile,
                dtype=args.dtype,
                backend=args.backend,
                device=args.device,
                self_ensemble=args.self_ensemble,
            )
        return self._loaded[names]

    def fetch(self) -> None:
        """Loads the model that the arguments name: from the Hub, before several processes need it at once."""
        if self._args.model is not None:
            self._network(self._args.model)

    def _network(self, name: str) -> nn.Module:
        from hfsr import hub
        from hfsr.hub.download.resolve import load_for_scale

        if name not in self._networks:
            asked = self.wanted.scale if name == self._args.model else None
            self._networks[name] = hub.from_pretrained(name) if asked is None else load_for_scale(name, asked)
        return self._networks[name]


# --- one image ---


def run_jobs(
    models: Models,
    jobs: Iterable[tuple[int, Job]],
    args: argparse.Namespace,
    report: Callable[[int, dict[str, Any]], None],
) -> None:
    """Runs jobs one after another.

    Args:
        models: the models of the command.
        jobs: position and job each; the next one is taken when it is needed.
        args: arguments of the command.
        report: receives position and report of each job, as it ends.
    """
    for position, job in jobs:
        report(position, _run_job(models, job, args))


def failed_report(job: Job, error: str) -> dict[str, Any]:
    """Returns the report about a job that failed."""
    return _new_report(job) | {"error": error}


def _new_report(job: Job, *, to_stdout: bool = False) -> dict[str, Any]:
    return dict.fromkeys(KEYS) | {
        "input": STDIN if job.is_stdin else str(job.source),
        "output": STDIN if to_stdout else job.target and str(job.target),
        "notes": [],
    }


def _run_job(models: Models, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """Runs one image; returns the report about it, with the reason if it failed."""
    report = _new_report(job, to_stdout=args.to_stdout)
    try:
        if job.error is not None:
            raise OptionsError(job.error)
        if job.target is None:
            raise ImageError(f"no images in '{job.source}'; allowed endings: {', '.join(sorted(SUFFIXES))}")
        _process(models, job, args, report)
    except HfsrError as error:
        text = " ".join(str(error).split())
        named = isinstance(error, OptionsError) and job.error is None and models.wanted.is_set
        report["error"] = f"'{report['input']}': {text}" if named else text
    except OSError as error:  # a path that the system rejects
        report["error"] = f"'{job.source}': {error.strerror or error}; check the path"
    except MemoryError:
        report["error"] = f"'{job.source}': not enough memory; close other programs or split the image"
    if report["error"] is not None:
        report |= dict.fromkeys(_RESULT)
    return report


def _process(models: Models, job: Job, args: argparse.Namespace, report: dict[str, Any]) -> None:
    """Chooses the models, and runs the image or predicts its run; completes the report."""
    from hfsr.images import MAX_PIXELS, image_size
    from hfsr.images.decoding.encoded_image import EncodedImage
    from hfsr.inference.program.geometry import Size

    assert job.target is not None
    image = EncodedImage.of(job.source)
    if job.is_stdin:
        image = EncodedImage(None, sys.stdin.buffer.read(), "<stdin>")
    try:
        width, height = image_size(image, max_pixels=args.max_pixels or MAX_PIXELS)
    except ImageError:
        report["model"] = models.choice(image, None).name
        raise
    choice = models.choice(image, (width, height))
    report |= {"model": choice.name, "model_reason": choice.reason}
    up, size = models.get(choice.names), Size(height, width)
    native = up.result_size(size)
    result = models.wanted.within(size, native, up.scale)
    report |= {
        "width": result.width,
        "height": result.height,
        "scale": _scale(models.wanted, up, size, result),
        "reduced_from": None if result == native else [native.width, native.height],
    }
    if args.dry_run:
        report |= _predict(up, image, size, result)
    elif args.skip_existing and os.path.exists(job.target):
        report |= dict.fromkeys(_RESULT)
        report["notes"] = ["the result exists already and was not replaced"]
        return
    else:
        report |= _upscale(up, image, job.target, size, result, models.wanted, args)
    if choice.note is not None:
        report["notes"] = [*report["notes"], choice.note]


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


def _upscale(
    up: Upscaler,
    image: EncodedImage,
    target: Path,
    size: Size,
    result: Size,
    wanted: WantedSize,
    args: argparse.Namespace,
) -> dict[str, Any]:
    from hfsr.inference.runtime.memory import peak_memory

    started = time.monotonic()
    with folder_of(target), _memory_turn(up, image, size, args.local_processes):
        steps = up.steps(
            image,
            target,
            jpeg_quality=args.jpeg_quality,
            max_pixels=args.max_pixels,
            truncated=args.truncated,
            scale=wanted.scale,
            size=_sides(wanted, size),
        )
        with closing(steps):
            name = image.name if image.path is None else image.path.name
            show_progress(steps, name=name, pixels=result.width * result.height, quiet=args.quiet)
    return {
        **_how(up),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": peak_memory(up.device),
        "notes": list(up.notes),
    }


def _memory_turn(
    up: Upscaler, image: EncodedImage, size: Size, processes: int
) -> AbstractContextManager[Any]:
    """Lock for images that take much of the memory of the CPU: the processes run them one at a time.

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
        "device": str(up.device),
    }
