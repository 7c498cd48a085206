"""`hfsr upscale` (and `restore`): enlarges or restores images and folders of images."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hfsr.cli.argument_types import positive
from hfsr.cli.image_progress import stoppable
from hfsr.cli.input_files import STDIN, Job, Skipped, find_jobs, remove_unfinished
from hfsr.cli.job_pipeline import run_jobs
from hfsr.cli.upscale_models import Models
from hfsr.cli.upscale_processes import run_in_processes, use_device_of
from hfsr.cli.work_share import Share, check_outside, divide, find_share, parse_shard
from hfsr.errors import UsageError
from hfsr.images.formats import WRITE_SUFFIXES
from hfsr.model_choice import PURPOSES, RESTORATIONS, bundled_restorer
from hfsr.samples import SAMPLE

RESULTS = Path("results")
_LONGEST_SUFFIX = 200  # bytes; a file name has 255 on most systems
DTYPES = "default auto: bf16 where it is native and the network allows it, fp32 for images of 16 bit"


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
        choices=(*PURPOSES, *(name for name, task in RESTORATIONS.items() if bundled_restorer(task))),
        help="without -m: the model for compressed photos or the one for clean images (default: photo for "
        "JPEG, lossy WebP and AVIF files, clean for lossless ones); with restore at the same size: the model "
        "that removes this (default noise)",
    )
    add(
        "--strength",
        type=float,
        metavar="S",
        help="without -m: a model between the one for clean images (0) and the one for photos (1)",
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
    add(
        "--backend",
        help="torch (default), openvino or auto: the faster one installed (default for 8-bit integers)",
    )
    add("--device", help="cpu, cuda, cuda:N, mps or xpu (default: cuda if available)")
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
    add(
        "--num_processes",
        type=positive(int),
        default=1,
        metavar="N",
        help="share the images among N processes: one on each GPU, or N on the CPU (default 1)",
    )
    add(
        "--shard",
        type=parse_shard,
        metavar="I/N",
        help="run part I of N of the images, I from 1 to N, for job arrays (default: that of the rank under "
        "torchrun, accelerate launch and srun)",
    )
    add("--dry-run", action="store_true", help="print time and memory for each image; write nothing")
    add("--sample", action="store_true", help="upscale the sample image that comes with hfsr")
    add("--json", action="store_true", help="one JSON object per image on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    if args.sample:
        args.inputs = [*args.inputs, str(SAMPLE)]
    if not args.inputs:
        raise UsageError("nothing to upscale; name images or folders, or try --sample")
    args.quiet, args.local_processes, args.is_shared = args.json, 1, False
    if args.num_processes > 1 and STDIN in (*args.inputs, args.output):
        raise UsageError("- is for one process; leave out --num_processes")
    if args.model is not None and args.purpose is not None:
        raise UsageError("-m names the model and --for chooses it; leave one out")
    if args.strength is not None:
        _check_strength(args)
    has_size = args.scale not in (None, 1) or args.width or args.height or args.max_side
    if args.purpose in RESTORATIONS and (args.command != "restore" or has_size):
        raise UsageError(f"--for {args.purpose} keeps the size; use 'hfsr restore' without a size")
    with _standard_output(args) as output:
        return _run(args, output)


def _check_strength(args: argparse.Namespace) -> None:
    """Raises UsageError if the strength is not between 0 and 1, or if another argument chooses the model."""
    if not 0 <= args.strength <= 1:
        raise UsageError(f"--strength {args.strength:g} is not allowed; use 0 (clean) to 1 (photo)")
    if args.model is not None or args.purpose is not None:
        raise UsageError("--strength chooses the model, as -m and --for do; use one of them")
    if args.command == "restore" and args.scale in (None, 1):
        raise UsageError("--strength needs a scale: of the models that keep the size, one is bundled")


def _run(args: argparse.Namespace, output: Path | None) -> int:
    models = Models(args)
    skipped = Skipped()
    jobs = find_jobs(
        args.inputs,
        output=output,
        default=RESULTS,
        suffix=models.suffix() if args.suffix is None else args.suffix,
        ext=args.ext,
        skipped=skipped,
    )
    share = find_share(args.shard, os.environ)
    if share is not None:
        jobs = _share_of(jobs, share, args)
    if args.skip_existing and not args.dry_run:
        remove_unfinished(jobs)
    failed = 0

    def report(found: dict[str, Any]) -> None:
        nonlocal failed
        if args.to_stdout and output is not None and output.exists():
            found["error"] = _copy_to_stdout(output)
        failed += found["error"] is not None
        _tell(found, args)

    with stoppable():
        if args.num_processes > 1 and not args.dry_run and jobs:
            models.fetch()
            run_in_processes(args, jobs, args.num_processes, report)
        else:
            run_jobs(models, enumerate(jobs), args, lambda _, found: report(found))
    for line in skipped.lines if share is None or share.index == 0 else ():
        print(f"hfsr {args.command}: {line}", file=sys.stderr)
    if failed and len(jobs) > 1 and not args.json:
        print(f"hfsr {args.command}: {failed} of {len(jobs)} inputs failed", file=sys.stderr)
    return 1 if failed or skipped.folders else 0


def _share_of(jobs: list[Job], share: Share, args: argparse.Namespace) -> list[Job]:
    """Returns the jobs of this process, and says so; sets its device and threads."""
    if STDIN in args.inputs or args.to_stdout:
        raise UsageError(f"- is for one process, and {share.source} says that {share.count} share the images")
    check_outside(jobs, args.inputs)
    mine = divide(jobs, share)
    if not args.json:
        which = f"share {share.index + 1} of {share.count} ({share.source})"
        print(f"hfsr {args.command}: {which}: {len(mine)} of {len(jobs)} images", file=sys.stderr, flush=True)
    args.quiet |= share.index > 0  # one progress bar on a terminal that all share
    args.local_processes, args.is_shared = share.local_count, True
    use_device_of(share, args)
    return mine


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
        yield Path(folder, f"stdout.{(args.ext or 'png').lstrip('.').lower()}")


def _copy_to_stdout(target: Path) -> str | None:
    """Copies a result to standard output; returns an error if that cannot be written."""
    try:
        with target.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # its reader has ended, which needs no message
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails again at exit
        return f"standard output cannot be written ({error.strerror}); check free space"
    return None


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
    backend = f", {report['backend']}: {report['backend_reason']}" if report["backend_reason"] else ""
    if args.dry_run:
        return (
            f"{report['input']} -> {size}: {report['tile']}, {report['dtype']}, {report['gflops']} GFLOP, "
            f"about {report['predicted_seconds']:.1f} s, {report['predicted_bytes'] / 2**20:.0f} MiB in all"
            f"{backend}"
        )
    return (
        f"{report['output']}: {size} in {report['seconds']:.1f} s (tile {report['tile']}, {report['dtype']}, "
        f"{report['device']}, peak memory {report['peak_memory_bytes'] / 2**20:.0f} MiB{backend})"
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
