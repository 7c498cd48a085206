"""`hfsr prior`: pictures restored and changed by what a generator knows (the deep generative prior)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfsr.cli._fit import Result, show_fit, stopped
from hfsr.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from hfsr.images import Picture
    from hfsr.priors import FitProgress, GenerativePrior
    from hfsr.priors.generative import Outcome, Schedule

_TASKS = ("sr", "colorize", "inpaint", "jitter", "morph")
_FRAMES = ("jitter", "morph")
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The result is the network's square, 128 or 256 px: pictures are cut to their middle and reduced to "
        "it. No weights come with hfsr; convert the released G_ema_*.pth and D_*.pth, or name them."
    )
    add = parser.add_argument
    add("task", choices=_TASKS, metavar="TASK", help="sr (x4), colorize, inpaint, jitter or morph")
    add("images", nargs="+", type=Path, metavar="IMAGE", help="pictures; morph takes two")
    add("--generator", required=True, metavar="G", help="BigGAN's: Hub id, model folder or checkpoint file")
    add("--discriminator", required=True, metavar="D", help="the one that belongs to it, likewise")
    add("-o", "--output", type=Path, help="a file for one result, else a folder (default results/)")
    add("--class", dest="class_number", default="auto", metavar="N|auto", help="what it shows (default auto)")
    add("--mask", type=Path, help="inpaint: a picture of the same size, light where the hole is")
    add("--brush", type=_box, metavar="X,Y,W,H", help="inpaint: the hole is this rectangle, in px")
    add("--paste-back", action="store_true", help="inpaint: give the whole picture with its hole filled")
    add("--bias", default="d", choices=("d", "mse"), help="sr: d is sharper, mse closer (default d)")
    add("--count", type=int, help="jitter: variants (default 8); morph: pictures on the way (default 11)")
    add("--strength", type=float, default=0.5, help="jitter: how much the latent numbers shake (default 0.5)")
    add("--to-class", type=int, metavar="N", help="jitter: make the variants of another class")
    add("--stages", type=Path, metavar="DIR", help="also write the picture after each stage of the fit there")
    add("--iterations", type=int, metavar="N", help="of every stage, instead of the published schedule")
    add("--candidates", type=int, default=500, metavar="N", help="random starts that are tried (default 500)")
    add("--seed", type=int, default=0, help="of those (default 0)")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--dry-run", action="store_true", help="try a few steps and tell time and memory; write nothing")
    add("--json", action="store_true", help="one JSON object per result on stdout, nothing else")


def run(args: argparse.Namespace) -> int:
    from hfsr import hub, images
    from hfsr.priors import GenerativePrior

    number = _class_number(args.class_number)
    _check(args)
    pictures = [images.read_picture(path) for path in args.images]
    prior = GenerativePrior(
        hub.from_pretrained(args.generator),
        hub.from_pretrained(args.discriminator),
        candidates=args.candidates,
        seed=args.seed,
        device=args.device,
    )
    schedule = prior.schedule(args.task, bias=args.bias, iterations=args.iterations)
    if args.dry_run:
        return _forecast(prior, schedule, args)
    groups = [tuple(pictures)] if args.task == "morph" else [(picture,) for picture in pictures]
    for path, group in zip(args.images, groups, strict=False):
        started = time.monotonic()
        result: Result[Outcome] = Result(_steps(prior, group, schedule, number, args))
        try:
            with closing(result.steps):
                show_fit(result, name=path.name, quiet=args.json)
        except KeyboardInterrupt:
            return stopped(f"hfsr prior: '{path}'")
        outcome = result.value
        written = _write(outcome, _target(path, args), args)
        _tell(path, written, outcome, prior, time.monotonic() - started, args)
    return 0


# --- what was asked for ---


def _box(text: str) -> tuple[int, int, int, int]:
    left, top, width, height = (int(part) for part in text.split(","))
    return left, top, width, height


def _class_number(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.lstrip("-").isdigit():
        raise OptionsError(f"--class '{text}' is no class; give its number, or auto")
    return int(text)


def _check(args: argparse.Namespace) -> None:
    if args.task == "morph" and len(args.images) != 2:
        raise OptionsError(f"morph goes from one picture to another; got {len(args.images)}, give two")
    if args.task == "inpaint" and (args.mask is None) == (args.brush is None):
        raise OptionsError("inpaint needs to know the hole; give --mask FILE or --brush X,Y,W,H, one of them")
    if args.task != "inpaint" and (args.mask or args.brush or args.paste_back):
        raise OptionsError(
            f"--mask, --brush and --paste-back belong to inpaint; leave them out with {args.task}"
        )
    if args.output is not None and _is_file(args.output) and (len(args.images) > 1 or args.task in _FRAMES):
        raise OptionsError(f"-o {args.output} names a file, but there are several results; name a folder")


def _is_file(output: Path) -> bool:
    return output.suffix.lower() in _ENDINGS and not output.is_dir()


def _steps(
    prior: GenerativePrior,
    group: tuple[Picture, ...],
    schedule: Schedule,
    number: int | None,
    args: argparse.Namespace,
) -> Generator[FitProgress, None, Outcome]:
    picture = group[0]
    if args.task == "sr":
        return prior.sr(picture, schedule=schedule, class_number=number)
    if args.task == "colorize":
        return prior.colorize(picture, schedule=schedule, class_number=number)
    if args.task == "inpaint":
        from hfsr import images
        from hfsr.priors.generative import brushed, checked_hole

        hole = (
            brushed(picture, args.brush)
            if args.mask is None
            else checked_hole(picture, images.read_picture(args.mask))
        )
        return prior.inpaint(
            picture, hole, schedule=schedule, class_number=number, paste_back=args.paste_back
        )
    if args.task == "jitter":
        return prior.jitter(
            picture,
            count=8 if args.count is None else args.count,
            strength=args.strength,
            to_class=args.to_class,
            schedule=schedule,
            class_number=number,
        )
    frames = 11 if args.count is None else args.count
    return prior.morph(picture, group[1], frames=frames, schedule=schedule, class_number=number)


# --- what comes out ---


def _target(path: Path, args: argparse.Namespace) -> Path:
    """The file of a result, or the folder of several frames."""
    if args.output is not None and _is_file(args.output):
        return args.output
    name = f"{path.stem}_{args.task}"
    folder = args.output or Path("results")
    if args.task in _FRAMES:
        return folder if args.output is not None and len(args.images) <= 2 else folder / name
    return folder / f"{name}.png"


def _write(outcome: Outcome, target: Path, args: argparse.Namespace) -> list[Path]:
    from hfsr import images

    if args.task in _FRAMES:
        files = {target / f"{i:02}.png": picture for i, picture in enumerate(outcome.pictures)}
    else:
        files = {target: outcome.pictures[0]}
    written = list(files)
    if args.stages is not None:
        for i, picture in enumerate(outcome.stages, start=1):
            files[args.stages / f"{target.stem}_stage{i}.png"] = picture
    for path, picture in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionsError(
                f"the folder '{path.parent}' cannot be made ({error.strerror}); choose another -o"
            ) from error
        images.write_picture(picture, path)
    return written


def _forecast(prior: GenerativePrior, schedule: Schedule, args: argparse.Namespace) -> int:
    seconds, size = prior.forecast(schedule)
    fits = len(args.images)
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
    outcome: Outcome,
    prior: GenerativePrior,
    seconds: float,
    args: argparse.Namespace,
) -> None:
    first = outcome.pictures[0]
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
    place = str(written[0]) if len(written) == 1 else f"{written[0].parent}: {len(written)} pictures"
    print(
        f"{place}: {first.width}x{first.height} px, class {outcome.class_number}, {seconds:.1f} s on "
        f"{prior.device}"
    )
    if args.task == "inpaint" and not args.paste_back:
        print(
            "hfsr prior: this is the network's square; --paste-back fills the hole in the whole picture",
            file=sys.stderr,
        )
