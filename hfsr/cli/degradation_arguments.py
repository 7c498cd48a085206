"""Command-line arguments that describe a degradation, for `evaluate` and `push`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfsr.evaluation import DegradationSpec

__all__ = ["add_degradation_arguments", "degradation_spec"]

TASKS = ("sr", "denoise", "jpeg", "demosaic")


def add_degradation_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Declares the arguments; with `several`, `--sigma` and `--quality` take several values."""
    add = parser.add_argument
    many: dict[str, Any] = {"nargs": "+"} if several else {}
    sigma, quality = ("", "") if several else (" (default 25)", " (default 40)")
    add(
        "--task",
        choices=TASKS,
        help="degradation of --gt if no LQ images are given (default: the one that the model removes)",
    )
    add("--sigma", type=float, metavar="N", help=f"denoise: standard deviation in gray levels{sigma}", **many)
    add(
        "--unclipped",
        action="store_true",
        help="denoise: neither clamp nor round the noisy image, as many papers do",
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
        help="instead of --task: a degradation as in option files, for example "
        "'[{type: GaussianBlur, kernel_size: 7, sigma: 1.6}, {type: Subsample}]'",
    )


def degradation_spec(args: argparse.Namespace) -> DegradationSpec:
    """Returns the degradation that parsed arguments describe."""
    from hfsr.evaluation import DegradationSpec

    return DegradationSpec(
        task=args.task,
        sigma=_as_tuple(args.sigma),
        unclipped=args.unclipped,
        quality=_as_tuple(args.quality),
        pattern=args.pattern,
        seed=args.seed,
        steps=args.degradation,
    )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
