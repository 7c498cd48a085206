"""`hfsr prior`: restores and edits images with a generative prior (deep generative prior, DGP)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli.argument_types import positive
from hfsr.cli.fit_progress import GeneratorResult, report_stop, show_fit
from hfsr.cli.image_progress import stoppable
from hfsr.cli.input_files import Skipped, find_jobs, folder_of, names_a_file
from hfsr.errors import ImageError, OptionsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

    from hfsr.images import LoadedImage
    from hfsr.priors import FitProgress, GenerativePrior
    from hfsr.priors.generative import FitSchedule, PriorResult

_TASKS = ("sr", "colorize", "inpaint", "jitter", "morph")
_FRAMES = {"jitter": 8, "morph": 11}
"""Default number of results, for tasks with several results."""
_OF_TASKS = {
    **dict.fromkeys(("mask", "brush", "paste_back"), ("inpaint",)),
    "bias": ("sr",),
    "count": ("jitter", "morph"),
    **dict.fromkeys(("strength", "to_class"), ("jitter",)),
}
"""Arguments that apply to some tasks only."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The result is the network's square, 128 or 256 px: images are cropped to their central square and "
        "reduced to it, for sr to a quarter of it. No weights come with hfsr; convert the released "
        "G_ema_*.pth and D_*.pth, or name these files."
    )
    add = parser.add_argument
    add("task", choices=_TASKS, metavar="TASK", help="sr (x4), colorize, inpaint, jitter or morph")
    add("images", nargs="+", metavar="IMAGE", help="images or folders; morph takes two images")
    add("--generator", required=True, metavar="G", help="BigGAN's: Hub id, model folder or checkpoint file")
    add("--discriminator", required=True, metavar="D", help="the one trained with the generator, likewise")
    add("-o", "--output", type=Path, help="a file for one result, else a folder (default results/)")
    add("--class", dest="class_number", default="auto", metavar="N|auto", help="its class (default auto)")
    add("--mask", type=Path, help="inpaint: an image of the same size, light where the hole is")
    add("--brush", type=_box, metavar="X,Y,W,H", help="inpaint: the hole is this rectangle, in px")
    add("--paste-back", action="store_true", help="inpaint: return the whole image with its hole filled")
    add("--bias", choices=("d", "mse"), help="sr: d is sharper, mse closer (default d)")
    add("--count", type=positive(int), help="jitter: variants (default 8); morph: images (default 11)")
    add("--strength", type=float, help="jitter: amplitude of the noise on the latent vector (default 0.5)")
    add("--to-class", type=int, metavar="N", help="jitter: create the variants in another class")
    add("--stages", type=Path, metavar="DIR", help="also write the image after each stage of the fit to DIR")
    add(
        "--iterations",
        type=positive(int),
        metavar="N",
        help="iterations of every stage, instead of the published schedule",
    )
    add(
        "--candidates",
        type=positive(int),
        default=500,
        metavar="N",
        help="random latent vectors from which the start is chosen (default 500)",
    )
    add("--seed", type=int, default=0, help="seed of the latent vectors (default 0)")
    add("--device", help="cpu, cuda, cuda:N, mps or xpu (default: cuda if available)")
    add("--dry-run", action="store_true", help="run a few steps, print time and memory; write nothing")
    add("--json", action="store_true", help="one JSON object per result on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    from hfsr import hub
    from hfsr.priors import GenerativePrior

    number = _class_number(args.class_number)
    _check(args)
    what = "hfsr prior"
    try:
        with stoppable():
            wanted = list(_all_wanted(args))  # reports errors before the networks are loaded
            prior = GenerativePrior(
                hub.from_pretrained(args.generator),
                hub.from_pretrained(args.discriminator),
                candidates=args.candidates,
                seed=args.seed,
                device=args.device,
            )
            schedule = prior.schedule(args.task, bias=args.bias or "d", iterations=args.iterations)
            for each in wanted:
                for image in each.images:
                    prior.check_inputs(image, number, each.hole)
            if args.dry_run:
                fits = sum(len(each.images) for each in wanted)
                return _forecast(prior, schedule, fits, args)
            for each in wanted:
                what = f"hfsr prior: '{each.source}'"
                _make(prior, each, schedule, number, args)
    except KeyboardInterrupt as stop:
        return report_stop(what, stop)
    return 0


# --- arguments ---


def _box(text: str) -> tuple[int, int, int, int]:
    left, top, width, height = (int(part) for part in text.split(","))
    return left, top, width, height


def _class_number(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.removeprefix("-").isdecimal():
        raise UsageError(f"--class '{text}' is not a class; give its number, or auto")
    return int(text)


def _check(args: argparse.Namespace) -> None:
    if args.task == "morph" and len(args.images) != 2:
        raise UsageError(f"morph needs two images, from one to the other; got {len(args.images)}")
    if args.task == "inpaint" and (args.mask is None) == (args.brush is None):
        raise UsageError("inpaint needs the hole; give either --mask FILE or --brush X,Y,W,H")
    for name, tasks in _OF_TASKS.items():
        value = getattr(args, name)
        if args.task not in tasks and value is not None and value is not False:  # 0 counts as given
            word = name.replace("_", "-")
            raise UsageError(f"--{word} belongs to {' and '.join(tasks)}; leave it out with {args.task}")
    if args.output is not None and args.task in _FRAMES and names_a_file(args.output):
        raise UsageError(f"-o {args.output} names a file, but there are several results; name a folder")


@dataclass(frozen=True, eq=False)
class _Wanted:
    """One result, or several frames of one fit: the inputs and the path of the result."""

    source: Path
    target: Path
    images: tuple[LoadedImage, ...]
    hole: NDArray[np.bool_] | None


def _all_wanted(args: argparse.Namespace) -> Iterator[_Wanted]:
    from hfsr import images

    inputs = args.images[:1] if args.task == "morph" else args.images
    skipped = Skipped()
    jobs = find_jobs(
        inputs,
        output=args.output,
        default=Path("results"),
        suffix=f"_{args.task}",
        ext="png",
        skipped=skipped,
    )
    for line in skipped.lines:
        print(f"hfsr {args.command}: {line}", file=sys.stderr)
    if clash := next((job.error for job in jobs if job.error), None):
        raise OptionsError(clash)
    for job in jobs:
        if job.target is None:
            raise ImageError(f"no images in '{job.source}'")
        first = images.read_image(job.source)
        others = [images.read_image(Path(path)) for path in args.images[1:] if args.task == "morph"]
        yield _Wanted(job.source, job.target, (first, *others), _hole(first, args))


def _hole(image: LoadedImage, args: argparse.Namespace) -> NDArray[np.bool_] | None:
    from hfsr import images
    from hfsr.priors.generative import hole_from_mask, hole_from_rectangle

    if args.brush is not None:
        return hole_from_rectangle(image, args.brush)
    return None if args.mask is None else hole_from_mask(image, images.read_image(args.mask))


# --- one fit ---


def _make(
    prior: GenerativePrior,
    wanted: _Wanted,
    schedule: FitSchedule,
    number: int | None,
    args: argparse.Namespace,
) -> None:
    from hfsr import images

    started = time.monotonic()
    targets = _targets(wanted.target, args)
    stages = [
        args.stages / f"{wanted.target.stem}_stage{i}.png"
        for i in range(1, len(wanted.images) * schedule.num_stages + 1)
        if args.stages is not None
    ]
    whole = wanted.images[0] if args.paste_back else None
    size = (whole.width, whole.height) if whole else (prior.resolution, prior.resolution)
    alpha = whole is not None and whole.alpha is not None
    with ExitStack() as folders:
        for path in [*targets, *stages]:
            folders.enter_context(folder_of(path))
            images.check_target(path, width=size[0], height=size[1], alpha=alpha)
        result: GeneratorResult[PriorResult] = GeneratorResult(_steps(prior, wanted, schedule, number, args))
        with closing(result.steps):
            show_fit(result, name=wanted.source.name, quiet=args.json)
        outcome = result.value
        loaded_images = [*outcome.images, *(outcome.stages if stages else ())]
        for path, image in zip([*targets, *stages], loaded_images, strict=True):
            images.write_image(image, path)
    _tell(wanted.source, targets, outcome, prior, time.monotonic() - started, args)


def _targets(target: Path, args: argparse.Namespace) -> list[Path]:
    """Returns the file of the result, or those of the frames."""
    if args.task not in _FRAMES:
        return [target]
    count = args.count or _FRAMES[args.task]
    digits = max(2, len(str(count - 1)))
    return [target.with_stem(f"{target.stem}_{i:0{digits}}") for i in range(count)]


def _steps(
    prior: GenerativePrior,
    wanted: _Wanted,
    schedule: FitSchedule,
    number: int | None,
    args: argparse.Namespace,
) -> Generator[FitProgress, None, PriorResult]:
    image = wanted.images[0]
    if args.task == "sr":
        return prior.sr(image, schedule=schedule, class_number=number)
    if args.task == "colorize":
        return prior.colorize(image, schedule=schedule, class_number=number)
    if wanted.hole is not None:
        return prior.inpaint(
            image, wanted.hole, schedule=schedule, class_number=number, paste_back=args.paste_back
        )
    count = args.count or _FRAMES[args.task]
    if args.task == "jitter":
        return prior.jitter(
            image,
            count=count,
            strength=0.5 if args.strength is None else args.strength,
            to_class=args.to_class,
            schedule=schedule,
            class_number=number,
        )
    return prior.morph(*wanted.images, frames=count, schedule=schedule, class_number=number)


# --- output ---


def _forecast(prior: GenerativePrior, schedule: FitSchedule, fits: int, args: argparse.Namespace) -> int:
    seconds, size = prior.estimate_cost(schedule)
    report = {
        "task": args.task,
        "fits": fits,
        "resolution": prior.resolution,
        "iterations": list(schedule.iterations),
        "predicted_seconds": round(seconds * fits, 1),
        "predicted_bytes": size,
        "device": str(prior.device),
    }
    if args.json:
        print(json.dumps(report))
    else:
        print(
            f"{fits} x {prior.resolution}x{prior.resolution} px: {prior.fitter.candidates} starts, then "
            f"{sum(schedule.iterations)} iterations: about {seconds * fits:.0f} s and {size / 2**20:.0f} MiB "
            f"on {prior.device}"
        )
    return 0


def _tell(
    source: Path,
    written: list[Path],
    outcome: PriorResult,
    prior: GenerativePrior,
    seconds: float,
    args: argparse.Namespace,
) -> None:
    first = outcome.images[0]
    if args.json:
        report: dict[str, Any] = {
            "input": str(source),
            "outputs": [str(path) for path in written],
            "task": args.task,
            "width": first.width,
            "height": first.height,
            "class": outcome.class_number,
            "seconds": round(seconds, 3),
            "device": str(prior.device),
        }
        print(json.dumps(report), flush=True)
        return
    place = str(written[0]) if len(written) == 1 else f"{written[0]} and {len(written) - 1} more"
    what = "the whole image" if args.paste_back else "the network's square"
    print(
        f"{place}: {first.width}x{first.height} px, {what}, class {outcome.class_number}, {seconds:.1f} s on "
        f"{prior.device}"
    )
    if args.task == "inpaint" and not args.paste_back:
        print("hfsr prior: --paste-back fills the hole in the whole image", file=sys.stderr)
