"""Types of command-line arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["positive"]


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Returns an argument type for finite numbers above 0."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if 0 < number < float("inf"):
            return number
        raise argparse.ArgumentTypeError(f"'{text}' is not allowed; use a number above 0")

    return parse
