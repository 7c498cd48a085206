"""`hfsr upscale` (and `restore`): enlarges or restores images and folders of images."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hfsr.cli.argument_types import positive
from hfsr.cli.image_progress import show_progress, stoppable
from hfsr.cli.input_files import STDIN, Job, Skipped, find_jobs, folder_of
from hfsr.errors import HfsrError, ImageError, OptionsError, UsageError
from hfsr.images.formats import SUFFIXES, WRITE_SUFFIXES
from hfsr.model_choice import PURPOSES, ModelChoice, choose_models
from hfsr.samples import SAMPLE

if TYPE_CHECKING:
    from torch import nn

    from hfsr.images.decoding.encoded_image import EncodedImage, ImageFile
    from hfsr.inference import Upscaler
    from hfsr.inference.program.geometry import Size
    from hfsr.inference.result_size import WantedSize

RESULTS = Path("results")
_SCALE = 2
"""Default scale."""
_LONGEST_SUFFIX = 200  # bytes; a file name has 255 on most systems
DTYPES = "default auto: bf16 where it is native and the network allows it, fp32 for images of 16 bit"
KEYS = (
    *("input", "output", "width", "height", "scale", "reduced_from", "model", "model_reason", "tile"),
    *("dtype", "backend", "device", "seconds", "peak_memory_bytes", "notes", "error"),
)
"""Keys of the JSON object of an image, in this order; a value without meaning is null."""
_RESULT = ("width", "height", "scale", "reduced_from")
"""Keys that have no meaning without a result."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="images, folders (searched recursively) or globs; - is standard input",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "-s",
        "--scale",
        type=positive(float),
        help="any number from 1 to 16 (default 2; with -m the scale of the model, which is also its maximum)",
    )
    add("--width", type=positive(int), metavar="PX", help="width of the results; alone, the height follows")
    add("--height", type=positive(int), metavar="PX", help="height of the results; alone, the width follows")
    size.add_argument("--max-side", type=positive(int), metavar="PX", help="longer side of the results")
    add("-m", "--model", help="Hub id, model folder, checkpoint file or bundled name")
    add(
        "--for",
        dest="purpose",
        choices=PURPOSES,
        help="without -m: the model for compressed photos or the one for clean images (default: photo for "
        "JPEG, lossy WebP and AVIF files, clean for lossless ones)",
    )
    add(
        "-o", "--output", help="a file for one image, - for standard output, else a folder (default results/)"
    )
    add(
        "--tile",
        type=_tile,
        default="auto",
        help="side of a tile in input px; 0 runs the image whole (default auto)",
    )
    add("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help=DTYPES)
    add("--backend", default="torch", help="torch (default), openvino or auto: the faster one installed")
    add("--device", help="cpu, cuda or cuda:N (default: cuda if available)")
    add("--self-ensemble", action="store_true", help="average over eight flips: better, eight times the work")
    add("--suffix", type=_suffix, help="text after the name of each result (default _x2 and the like)")
    add("--ext", type=_ending, help=f"format of the results: {_formats()} (default: that of the input)")
    add("--jpeg-quality", type=_quality, default=95, metavar="Q", help="1 to 100 (default 95)")
    add("--skip-existing", action="store_true", help="do not replace existing results")
    add(
        "--max-pixels",
        type=positive(int),
        metavar="N",
        help="refuse images with more px (default 268 million)",
    )
    add("--truncated", action="store_true", help="decode the intact part of a truncated JPEG")
    add("--dry-run", action="store_true", help="print time and memory for each image; write nothing")
    add("--sample", action="store_true", help="upscale the sample image that comes with hfsr")
    add("--json", action="store_true", help="one JSON object per image on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    if args.sample:
        args.inputs = [*args.inputs, str(SAMPLE)]
    if not args.inputs:
        raise UsageError("nothing to upscale; name images or folders, or try --sample")
    if args.model is not None and args.purpose is not None:
        raise UsageError("-m names the model and --for chooses it; leave one out")
    with _standard_output(args) as output:
        return _run(args, output)


def _run(args: argparse.Namespace, output: Path | None) -> int:
    models = _Models(args)
    skipped = Skipped()
    jobs = find_jobs(
        args.inputs,
        output=output,
        default=RESULTS,
        suffix=models.suffix() if args.suffix is None else args.suffix,
        ext=args.ext,
        skipped=skipped,
    )
    with stoppable():
        failed = sum([not _do(models, job, args) for job in jobs])
    for line in skipped.lines:
        print(f"hfsr {args.command}: {line}", file=sys.stderr)
    if failed and len(jobs) > 1 and not args.json:
        print(f"hfsr {args.command}: {failed} of {len(jobs)} inputs failed", file=sys.stderr)
    return 1 if failed or skipped.folders else 0


@contextmanager
def _standard_output(args: argparse.Namespace) -> Iterator[Path | None]:
    """Yields the path of the results; for `-o -` a temporary file, which is copied to standard output."""
    args.to_stdout = args.output == STDIN
    if not args.to_stdout:
        yield None if args.output is None else Path(args.output)
        return
    if args.json:
        raise UsageError("-o - writes the image to standard output, where --json prints; leave one out")
    if sys.stdout.isatty():
        raise UsageError("-o - writes the image to standard output, which is a terminal; redirect it")
    with TemporaryDirectory(prefix="hfsr-") as folder:
        target = Path(folder, f"stdout.{(args.ext or 'png').lstrip('.').lower()}")
        yield target
        if target.exists():
            with target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


class _Models:
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

    def _network(self, name: str) -> nn.Module:
        from hfsr import hub
        from hfsr.hub.download.resolve import load_for_scale

        if name not in self._networks:
            asked = self.wanted.scale if name == self._args.model else None
            self._networks[name] = hub.from_pretrained(name) if asked is None else load_for_scale(name, asked)
        return self._networks[name]


# --- one image ---


def _do(models: _Models, job: Job, args: argparse.Namespace) -> bool:
    """Runs one image and reports the result; returns True if it succeeded."""
    report: dict[str, Any] = dict.fromkeys(KEYS)
    report |= {
        "input": STDIN if job.is_stdin else str(job.source),
        "output": STDIN if args.to_stdout else job.target and str(job.target),
        "notes": [],
    }
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
    _tell(report, args)
    return report["error"] is None


def _process(models: _Models, job: Job, args: argparse.Namespace, report: dict[str, Any]) -> None:
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
    with folder_of(target):
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
            show_progress(steps, name=name, pixels=result.width * result.height, quiet=args.json)
    return {
        **_how(up),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": peak_memory(up.device),
        "notes": list(up.notes),
    }


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


def _tell(report: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(report), flush=True)
    elif report["error"] is not None:
        print(f"hfsr {args.command}: {report['error']}", file=sys.stderr)
    else:
        notes = "".join(f"; {note}" for note in report["notes"])
        stream = sys.stderr if args.to_stdout else sys.stdout
        print(" ".join(f"{_summary(report, args)}{notes}".split()), file=stream, flush=True)


def _summary(report: dict[str, Any], args: argparse.Namespace) -> str:
    if report["width"] is None:
        return str(report["output"])
    reason = f" ({report['model_reason']})" if report["model_reason"] else ""
    size = f"{report['width']}x{report['height']} px by {report['model']}{reason}"
    if report["reduced_from"]:
        size += ", reduced from {}x{} px".format(*report["reduced_from"])
    if args.dry_run:
        return (
            f"{report['input']} -> {size}: {report['tile']}, {report['dtype']}, {report['gflops']} GFLOP, "
            f"about {report['predicted_seconds']:.1f} s, {report['predicted_bytes'] / 2**20:.0f} MiB in all"
        )
    return (
        f"{report['output']}: {size} in {report['seconds']:.1f} s (tile {report['tile']}, {report['dtype']}, "
        f"{report['device']}, peak memory {report['peak_memory_bytes'] / 2**20:.0f} MiB)"
    )


# --- argument types ---


def _tile(text: str) -> int | str:
    if text == "auto" or (text.isdecimal() and (int(text) == 0 or int(text) >= 8)):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use auto, 0 (whole) or at least 8 px")


def _quality(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not allowed; use 1 to 100")


def _ending(text: str) -> str:
    if "." + text.lstrip(".").lower() in WRITE_SUFFIXES:
        return text
    raise argparse.ArgumentTypeError(f"hfsr does not write '{text}'; use {_formats()}")


def _suffix(text: str) -> str:
    separators = [each for each in (os.sep, os.altsep, "\0") if each]
    if any(each in text for each in separators) or (os.name == "nt" and set(text) & set('<>:"|?*')):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be part of a file name; leave out {separators[0]}")
    if len(os.fsencode(text)) > _LONGEST_SUFFIX:
        raise argparse.ArgumentTypeError(f"it has over {_LONGEST_SUFFIX} bytes, too many for a file name")
    return text


def _formats() -> str:
    return ", ".join(ending[1:] for ending in WRITE_SUFFIXES)
