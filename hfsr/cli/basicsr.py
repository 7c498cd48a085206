"""`basicsr`: runs `hfsr train` and `hfsr test`; BasicSR itself has no command of this name."""

from __future__ import annotations

import argparse
import sys

from . import run_command


def main(argv: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="basicsr", description="Train and test image restoration networks.")
    parser.add_argument("command", choices=["train", "test"], help="see COMMAND --help")
    if not argv:
        parser.print_help()
        return 2
    return run_command("basicsr", parser.parse_args(argv[:1]).command, argv[1:])
