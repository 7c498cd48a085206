"""The commands, one module each: it parses arguments, calls one package, and prints results and progress.

Only the module of the requested command is imported, so `hfsr --help` does not import torch.
Each module defines `add_arguments(parser)` and `run(args) -> int` (the exit code).
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

from hfsr import __version__
from hfsr.errors import HfsrError, HfsrWarning, UsageError, suggest

__all__ = ["COMMANDS", "build_parser", "main", "run_command"]

COMMANDS = {
    "upscale": ("upscale", "enlarge or restore images and folders"),
    "restore": ("upscale", "another name of upscale"),
    "evaluate": ("evaluate", "PSNR and SSIM of a model on a folder, with the protocol stated"),
    "list": ("list", "networks, presets and bundled models"),
    "info": ("info", "properties of a network, preset or model"),
    "doctor": ("doctor", "check this installation, or that tiles of a model equal the whole image"),
    "zeroshot": ("zeroshot", "enlarge an image with a network trained on that image, without weights"),
    "prior": ("prior", "restore and edit images with a generative prior"),
    "convert": ("convert", "convert a released checkpoint into a model folder"),
    "quantize": ("quantize", "convert a model to 8-bit integers and measure the loss of quality"),
    "export": ("export", "export a model to ONNX, for any height and width"),
    "interpolate": ("interpolate", "interpolate between two sets of weights of a network"),
    "push": ("push", "publish a model on the Hub"),
    "push-space": ("push_space", "publish a Space that offers models in a browser"),
    "prepare": ("prepare", "prepare data sets: crops, LR images, containers, pairs of published sets"),
    "finetune": ("finetune", "fine-tune a model on a folder of photos, and measure the gain"),
    "train": ("train", "train from an option file"),
    "test": ("test", "repeat the validation of a run"),
    "demo": ("demo", "start the Space in a browser"),
}
"""Command -> (module under hfsr.cli, one-line summary)."""


class _Parser(argparse.ArgumentParser):
    """Parser that reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        see = f" See {self.prog} --help" if message.endswith("?") else f"; see {self.prog} --help"
        self.exit(2, f"{self.prog}: {message}{see}\n")

    def parse_command(self, argv: list[str]) -> argparse.Namespace:
        """Parses the arguments of a command; the error for a misspelled option names the right one."""
        args, rest = self.parse_known_args(argv)
        if rest:
            options = [word.partition("=")[0] for word in rest if word.startswith("-")]
            hint = suggest(options[0], self._option_string_actions) if options else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint if 'did you mean' in hint else ''}")
        return args


def main(argv: list[str] | None = None) -> int:
    """Entry point of `hfsr`. Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _Parser(
        prog="hfsr",
        description="Image restoration: upscale, train, publish.",
        epilog="commands:\n" + "\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hfsr {__version__}")
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below; see COMMAND --help"
    )
    if not argv:
        parser.print_help()
        return 2
    hint = "" if argv[0].startswith("-") or argv[0] in COMMANDS else suggest(argv[0], COMMANDS)
    if "did you mean" in hint:  # else argparse lists all commands
        parser.error(f"no command '{argv[0]}'{hint}")
    command = parser.parse_args(argv[:1]).command
    return run_command("hfsr", command, argv[1:])


def build_parser(program: str, command: str) -> _Parser:
    """Builds the parser of one command of `program` (`hfsr` or `basicsr`)."""
    module_name, summary = COMMANDS[command]
    parser = _Parser(prog=f"{program} {command}", description=summary[0].upper() + summary[1:] + ".")
    importlib.import_module(f"hfsr.cli.{module_name}").add_arguments(parser)
    return parser


@contextmanager
def _warnings_as_lines(program: str) -> Iterator[None]:
    """Prints each `HfsrWarning` as one line on stderr, without its source location."""
    show = warnings.showwarning

    def show_line(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, HfsrWarning):
            print(f"{program}: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_line
    try:
        yield
    finally:
        warnings.showwarning = show


def run_command(program: str, command: str, argv: list[str]) -> int:
    """Runs one command of `program` (`hfsr` or `basicsr`) and prints an error as one line on stderr.

    Returns:
        The exit code: 0, 1 for an HfsrError, 2 for wrong usage, 128 plus the number of the stopping signal.
    """
    name = f"{program} {command}"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may contain undecodable bytes
    try:
        module = importlib.import_module(f"hfsr.cli.{COMMANDS[command][0]}")
        args = build_parser(program, command).parse_command(argv)
        args.command = command
        with _warnings_as_lines(name):
            return int(module.run(args))
    except HfsrError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # the reader of stdout has ended
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # otherwise Python reports an error at exit
        return 1
    except OSError as error:  # the system rejects a path
        print(f"{name}: {error.strerror or error}: '{error.filename}'; check the path", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"{name}: not enough memory; close other programs, or use smaller images", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        if not getattr(stop, "is_reported", False):
            print(f"{name}: interrupted", file=sys.stderr)
        return 128 + getattr(stop, "signal", signal.SIGINT)
