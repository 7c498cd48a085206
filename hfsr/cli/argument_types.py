"""Numbers on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["positive"]


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """A type of argument: such a number, finite and above 0; anything else is wrong usage."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if 0 < number < float("inf"):
            return number
        raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use a number above 0")

    return parse
