"""What is done to good pictures to measure a model on them: the words of `evaluate` and `push`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hfsr.errors import OptionsError

if TYPE_CHECKING:
    from hfsr.degradations import Seeded, Step

__all__ = ["WORDS", "add_words", "degradations_of", "task_word", "told_task"]

WORDS = {
    "sr": "super-resolution",
    "denoise": "denoising",
    "jpeg": "jpeg-artifact-removal",
    "demosaic": "demosaicing",
}
"""The command line's word -> that of a model's config."""
SIGMA, QUALITY = 25.0, 40


def add_words(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """The options; `several`: one may name strengths by the dozen, and is not told defaults."""
    add = parser.add_argument
    many: dict[str, Any] = {"nargs": "+"} if several else {}
    sigma, quality = ("", "") if several else (f" (default {SIGMA:g})", f" (default {QUALITY})")
    add(
        "--task",
        choices=WORDS,
        help="what is done to --gt where no LQ pictures are given (default: what the model undoes)",
    )
    add("--sigma", type=float, metavar="N", help=f"denoise: gray levels of noise{sigma}", **many)
    add(
        "--unclipped",
        action="store_true",
        help="denoise: neither clamp nor round the noisy picture, as many papers do",
    )
    add(
        "--quality",
        type=int,
        metavar="N",
        help=f"jpeg: quality{quality}; sr: the reduced images are compressed at this quality",
        **many,
    )
    add("--pattern", default="RGGB", metavar="P", help="demosaic: Bayer pattern (default RGGB)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the noise (default 0)")
    add(
        "--degradation",
        metavar="YAML",
        help="instead of --task: what an option file says of it, as "
        "'[{type: GaussianBlur, kernel_size: 7, sigma: 1.6}, {type: Subsample}]'",
    )


def told_task(args: argparse.Namespace) -> str | None:
    """The task that is told, also by a strength alone; None where it is left to the model.

    A quality alone tells "jpeg", which `degradations_of` understands as "sr" for models that enlarge.
    """
    if args.task is None and args.sigma is not None:
        return "denoise"
    if args.task is None and args.quality is not None:
        return "jpeg"
    return args.task


def task_word(task: str, *, name: str) -> str:
    """The command line's word for a task, of which it may be one already.

    Args:
        task: what a model undoes, as its config has it.
        name: of the model, for the error.

    Raises:
        OptionsError: no option makes pictures of which that could be undone.
    """
    words = {meant: word for word, meant in WORDS.items()}
    if task in WORDS or task in words:
        return words.get(task, task)
    raise OptionsError(
        f"'{name}' is for {task}, and what it undoes is not known here; name the LQ pictures with --lq, or "
        "say --sigma N (noise), --quality N (JPEG), --task demosaic or --degradation"
    )


def degradations_of(args: argparse.Namespace, task: str, scale: float) -> list[Seeded]:
    """What the command line says, once for each strength that it names.

    Args:
        args: of a parser with `add_words`.
        task: from `task_word`.
        scale: of the model.

    Raises:
        OptionsError: the model does not keep sizes and the task does, or a value is out of range.
    """
    from hfsr.degradations import Bicubic, Chain, GaussianNoise, Jpeg, Mosaic, Seeded

    if args.degradation:
        return [Seeded(_chain(args.degradation, scale), args.seed)]
    if task == "jpeg" and args.task is None and scale != 1:
        task = "sr"
    if task != "sr" and scale != 1:
        raise OptionsError(
            f"--task {task} is for models of scale 1, this one enlarges x{scale:g}; leave --task out"
        )
    steps: list[Step] = [Bicubic(scale=scale)]
    if task == "sr" and args.quality is not None:
        qualities = _listed(args.quality, QUALITY)
        steps = [Chain([Bicubic(scale=scale), Jpeg(quality=quality)]) for quality in qualities]
    elif task == "denoise":
        clip = not args.unclipped
        steps = [GaussianNoise(sigma=sigma, clip=clip) for sigma in _listed(args.sigma, SIGMA)]
    elif task == "jpeg":
        steps = [Jpeg(quality=quality) for quality in _listed(args.quality, QUALITY)]
    elif task == "demosaic":
        steps = [Mosaic(pattern=args.pattern)]
    return [Seeded(step, args.seed) for step in steps]


def _listed(told: Any, default: Any) -> list[Any]:
    if told is None:
        return [default]
    return told if isinstance(told, list) else [told]


def _chain(text: str, scale: float) -> Step:
    """The steps that a command line says in the words of option files."""
    import yaml

    from hfsr.degradations import build_chain

    if scale != int(scale):
        raise OptionsError(f"--degradation needs a whole scale, not {scale:g}")
    try:
        sections = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionsError(f"--degradation is not YAML: {error}") from error
    listed = sections if isinstance(sections, list) else [sections]
    if not listed or not all(isinstance(section, dict) for section in listed):
        raise OptionsError(
            f"--degradation {text!r} is no step; write for example '{{type: Jpeg, quality: 40}}'"
        )
    return build_chain(listed, int(scale))
