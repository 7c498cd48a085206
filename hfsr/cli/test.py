"""`hfsr test` and `basicsr test`: repeats the validation of a run, or measures given weights."""

from __future__ import annotations

import argparse

from .train import add_import_argument, load_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-opt", "--opt", required=True, metavar="FILE", help="option file, or the name of a packaged one")
    add("--force_yml", nargs="+", default=[], metavar="A:B=C", help="change values of the file (YAML)")
    add_import_argument(parser)
    add(
        "--launcher",
        choices=["none", "pytorch", "slurm"],
        default="none",
        help="accepted for compatibility; testing uses one process",
    )
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    training = load_training()
    options = training.load_options(args.opt, args.force_yml, args.modules)
    for measurement in training.test(options):
        print(measurement)
    return 0
