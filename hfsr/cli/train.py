"""`hfsr train` and `basicsr train`: runs the training that an option file describes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from hfsr.errors import HfsrError, MissingDependencyError, OptionsError

if TYPE_CHECKING:
    from hfsr.options import TrainOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-opt", "--opt", required=True, metavar="FILE", help="option file, or the name of a packaged one")
    add("--auto_resume", action="store_true", help="resume from the newest training state of this run")
    add("--wait", action="store_true", help="wait while another process trains this run, instead of failing")
    add("--force_yml", nargs="+", default=[], metavar="A:B=C", help="change values of the file (YAML)")
    add_import_argument(parser)
    add("--debug", action="store_true", help="run as debug_<name>; log, validate and save often")
    add("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="launcher of the processes")
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    add("--num_processes", type=int, default=1, metavar="N", help="processes on this machine (default 1)")
    add("--check", action="store_true", help="validate everything, print memory and time; train nothing")


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--import`, for `train` and `test`."""
    parser.add_argument(
        "--import",
        dest="modules",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="import these modules first; they register networks, losses, data sets, metrics or recipes",
    )


def run(args: argparse.Namespace) -> int:
    training = load_training()
    if args.num_processes < 1:
        raise OptionsError(f"--num_processes {args.num_processes} is not allowed; use 1 or more")
    if args.launcher == "slurm":
        training.adopt_slurm()
    options = training.load_options(args.opt, args.force_yml, args.modules)
    if args.debug:
        options = debugging(options)
    if args.check:
        print(training.check_training(options))
        return 0
    if args.num_processes > 1 and not training.is_worker():
        return training.launch(_work, (args,), processes=args.num_processes)
    training.train(
        options,
        option_file=training.find_option_file(args.opt),
        overrides=[*args.force_yml, *(f"import={name}" for name in args.modules)],
        auto_resume=args.auto_resume,
        wait=args.wait,
    )
    return 0


def load_training() -> ModuleType:
    """Imports the `hfsr.training` package.

    Raises:
        MissingDependencyError: if the extra that training needs is not installed.
    """
    # Idle OpenMP threads sleep: if other processes use the machine, spinning takes up to five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from hfsr import training
    except ModuleNotFoundError as error:
        if isinstance(error, HfsrError):
            raise
        raise MissingDependencyError(error.name or str(error), extra="train", purpose="training") from error
    return training


def debugging(options: TrainOptions) -> TrainOptions:
    """Returns the options of BasicSR's debug mode: another name, and everything every few iterations."""
    name = options.name if options.name.startswith("debug") else f"debug_{options.name}"
    logger = options.logger.model_copy(update={"print_freq": 1, "save_checkpoint_freq": 8})
    val = options.val.model_copy(update={"val_freq": 8})
    return options.model_copy(update={"name": name, "logger": logger, "val": val})


def _work(args: argparse.Namespace) -> int:
    """Runs one process of a launch; process 0 prints the error, because the launcher sees exit codes only."""
    try:
        return run(args)
    except HfsrError as error:
        if os.environ.get("RANK") == "0":
            print(f"hfsr train: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", signal.SIGINT)
