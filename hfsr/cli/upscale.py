"""`hfsr upscale` (and `restore`): pictures and folders in, larger or cleaner pictures out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli._jobs import WRITTEN, Job, find_jobs, folder_of
from hfsr.cli._model_choice import PURPOSES, ModelChoice, choose_model
from hfsr.cli._numbers import positive
from hfsr.cli._progress import show_progress, stoppable
from hfsr.errors import HfsrError, ImageError, UsageError
from hfsr.samples import SAMPLE

if TYPE_CHECKING:
    from hfsr.inference import Upscaler

RESULTS = Path("results")
DTYPES = "default auto: bf16 where it is native and the network allows it, fp32 for pictures of 16 bit"
KEYS = (
    *("input", "output", "width", "height", "scale", "model", "model_reason", "tile", "dtype", "backend"),
    *("device", "seconds", "peak_memory_bytes", "notes", "error"),
)
"""Of a picture's JSON object, in this order; null where there is nothing to say."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="pictures, folders (searched recursively) or globs")
    add("-s", "--scale", type=positive(float), help="scale of the model; without -m 2, 3 or 4 (default 2)")
    add("-m", "--model", help="Hub id, model folder, checkpoint file or bundled name")
    add(
        "--for",
        dest="purpose",
        choices=PURPOSES,
        help="without -m: the model for compressed photos or the one for clean images (default: photo for "
        "JPEG, lossy WebP and AVIF files, clean for lossless ones)",
    )
    add("-o", "--output", type=Path, help="a file for one picture, else a folder (default results/)")
    add(
        "--tile",
        type=_tile,
        default="auto",
        help="side in input px of what one piece owns; 0 runs whole (default auto)",
    )
    add("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help=DTYPES)
    add("--backend", default="torch", help="torch (default), openvino or auto: the faster one installed")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--self-ensemble", action="store_true", help="average over eight flips: better, eight times the work")
    add("--suffix", help="added to the name of each result (default _x2 and the like)")
    add("--ext", type=_ending, help=f"format of the results: {_formats()} (default: as the input)")
    add("--jpeg-quality", type=_quality, default=95, metavar="Q", help="1 to 100 (default 95)")
    add("--skip-existing", action="store_true", help="leave results alone that are there already")
    add(
        "--max-pixels",
        type=positive(int),
        metavar="N",
        help="refuse pictures with more px (default 268 million)",
    )
    add("--dry-run", action="store_true", help="print what each picture would take; write nothing")
    add("--sample", action="store_true", help="upscale the sample picture that comes with hfsr")
    add("--json", action="store_true", help="one JSON object per picture on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    if args.sample:
        args.inputs = [*args.inputs, str(SAMPLE)]
    if not args.inputs:
        raise UsageError("nothing to upscale; name pictures or folders, or try --sample")
    if args.model is not None and args.purpose is not None:
        raise UsageError("-m names the model and --for chooses it; leave one out")
    models = _Models(args)
    scale = models.get(args.model).scale if args.model is not None else _default_scale(args)
    own = f"_x{scale:g}" if scale > 1 else "_restored"
    jobs = find_jobs(
        args.inputs,
        output=args.output,
        default=RESULTS,
        suffix=own if args.suffix is None else args.suffix,
        ext=args.ext,
    )
    with stoppable():
        failed = sum([not _do(models, job, args) for job in jobs])
    if failed and len(jobs) > 1 and not args.json:
        print(f"hfsr {args.command}: {failed} of {len(jobs)} inputs failed", file=sys.stderr)
    return 1 if failed else 0


def _default_scale(args: argparse.Namespace) -> float:
    """Scale of the bundled models where none is named."""
    return args.scale or (1 if args.command == "restore" else 2)


class _Models:
    """The models of one command, loaded when the first image needs them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._loaded: dict[str, Upscaler] = {}

    def choice(self, source: Path) -> ModelChoice:
        """The model that was named, or the bundled one for an image."""
        args = self._args
        if args.model is not None:
            return ModelChoice(str(args.model))
        return choose_model(source, command=args.command, scale=args.scale, purpose=args.purpose)

    def get(self, name: str) -> Upscaler:
        """The upscaler of a model; it is kept."""
        from hfsr import hub
        from hfsr.inference import Upscaler

        args = self._args
        if name not in self._loaded:
            self._loaded[name] = Upscaler(
                hub.from_pretrained(name, scale=args.scale),
                tile=args.tile,
                dtype=args.dtype,
                backend=args.backend,
                device=args.device,
                self_ensemble=args.self_ensemble,
            )
        return self._loaded[name]


# --- one picture ---


def _do(models: _Models, job: Job, args: argparse.Namespace) -> bool:
    """Runs one picture and says what came of it; whether that went well."""
    report: dict[str, Any] = dict.fromkeys(KEYS)
    choice = models.choice(job.source)
    report |= {
        "input": str(job.source),
        "output": job.target and str(job.target),
        "model": choice.name,
        "model_reason": choice.reason,
        "notes": [],
    }
    try:
        up = models.get(choice.name)
        report |= _dry_run(up, job, args) if args.dry_run else _upscale(up, job, args)
        if choice.note is not None:
            report["notes"] = [*report["notes"], choice.note]
    except HfsrError as error:
        report["error"] = " ".join(str(error).split())
    except OSError as error:  # a name or a place that the system refuses
        report["error"] = f"'{job.source}': {error.strerror or error}; check the path"
    except MemoryError:
        report["error"] = f"'{job.source}': not enough memory for it; close other programs or cut it in parts"
    _tell(report, args)
    return report["error"] is None


def _upscale(up: Upscaler, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    from hfsr.inference.memory import peak_memory

    width, height, target = _expected(up, job, args)
    if args.skip_existing and os.path.exists(target):
        return {"notes": ["the result is there already and was left alone"]}
    started = time.monotonic()
    with folder_of(target):
        steps = up.steps(job.source, target, jpeg_quality=args.jpeg_quality, max_pixels=args.max_pixels)
        with closing(steps):
            show_progress(steps, name=job.source.name, pixels=width * height, quiet=args.json)
    return {
        "width": width,
        "height": height,
        "scale": up.scale,
        "tile": up.used_tile,
        "dtype": up.dtype_name,
        "backend": up.backend,
        "device": str(up.device),
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": peak_memory(up.device),
        "notes": list(up.notes),
    }


def _expected(up: Upscaler, job: Job, args: argparse.Namespace) -> tuple[int, int, Path]:
    """Width and height of the result in px, and its place.

    Raises:
        ImageError: the input holds no picture.
    """
    from hfsr.archs import enlarged_length
    from hfsr.images import MAX_PIXELS, picture_size

    if job.target is None:
        raise ImageError(f"no pictures in '{job.source}'; allowed endings: {', '.join(WRITTEN)}")
    width, height = picture_size(job.source, max_pixels=args.max_pixels or MAX_PIXELS)
    return enlarged_length(width, up.scale), enlarged_length(height, up.scale), job.target


def _dry_run(up: Upscaler, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    from hfsr.images import MAX_PIXELS, picture_bits, picture_size

    width, height, _ = _expected(up, job, args)
    size = picture_size(job.source, max_pixels=args.max_pixels or MAX_PIXELS)
    bits = picture_bits(job.source)
    plan, forecast = up.plan(*size, bits), up.forecast(*size, bits)
    runs = 8 if args.self_ensemble else 1
    return {
        "width": width,
        "height": height,
        "scale": up.scale,
        "tile": plan.parts,
        "dtype": up.dtype_name,
        "backend": up.backend,
        "device": str(up.device),
        "predicted_bytes": forecast.peak_bytes,
        "predicted_seconds": round(forecast.seconds, 1),
        "gflops": round(runs * plan.flops / 1e9, 1),
    }


def _tell(report: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(report), flush=True)
    elif report["error"] is not None:
        print(f"hfsr {args.command}: {report['error']}", file=sys.stderr)
    else:
        notes = "".join(f"; {note}" for note in report["notes"])
        print(" ".join(f"{_summary(report, args)}{notes}".split()), flush=True)


def _summary(report: dict[str, Any], args: argparse.Namespace) -> str:
    if report["width"] is None:
        return str(report["output"])
    reason = f" ({report['model_reason']})" if report["model_reason"] else ""
    size = f"{report['width']}x{report['height']} px by {report['model']}{reason}"
    if args.dry_run:
        return (
            f"{report['input']} -> {size}: {report['tile']}, {report['dtype']}, {report['gflops']} GFLOP, "
            f"about {report['predicted_seconds']:.1f} s, {report['predicted_bytes'] / 2**20:.0f} MiB in all"
        )
    return (
        f"{report['output']}: {size} in {report['seconds']:.1f} s (tile {report['tile']}, {report['dtype']}, "
        f"{report['device']}, peak memory {report['peak_memory_bytes'] / 2**20:.0f} MiB)"
    )


# --- words of the command line ---


def _tile(text: str) -> int | str:
    if text == "auto" or (text.isdecimal() and (int(text) == 0 or int(text) >= 8)):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use auto, 0 (whole) or at least 8 px")


def _quality(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not allowed; use 1 to 100")


def _ending(text: str) -> str:
    if "." + text.lstrip(".").lower() in WRITTEN:
        return text
    raise argparse.ArgumentTypeError(f"hfsr does not write '{text}'; use {_formats()}")


def _formats() -> str:
    return ", ".join(ending[1:] for ending in WRITTEN)
