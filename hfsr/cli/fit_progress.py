"""What a fit to one picture shows of itself on a terminal, and what stopping it says."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from hfsr.priors import FitProgress

__all__ = ["Result", "show_fit", "stopped"]

T = TypeVar("T")


class Result(Generic[T]):
    """Goes through the steps of a fit and keeps what they return, in `value`."""

    value: T

    def __init__(self, steps: Generator[FitProgress, None, T]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[FitProgress]:
        self.value = yield from self.steps


def show_fit(steps: Iterable[FitProgress], *, name: str, quiet: bool) -> list[FitProgress]:
    """Runs a fit to its end, each stage behind a bar with its loss.

    Args:
        steps: what the fit yields.
        name: of the picture.
        quiet: run without bars.

    Returns:
        The last step of each stage.
    """
    from tqdm import tqdm

    last: dict[str, FitProgress] = {}
    hidden = quiet or not sys.stderr.isatty()
    bar = None
    for step in steps:
        if step.stage not in last:
            if bar is not None:
                bar.close()
            bar = tqdm(desc=f"{name}, {step.stage}", total=step.total, disable=hidden, leave=False)
        last[step.stage] = step
        if bar is not None:
            bar.total = step.total
            if step.loss is not None:
                bar.set_postfix_str(f"loss {step.loss:.4f}", refresh=False)
            bar.update(step.done - bar.n)
    if bar is not None:
        bar.close()
    return list(last.values())


def stopped(what: str, stop: KeyboardInterrupt) -> int:
    """What Ctrl-C ends with: a fit cannot be taken up again, and leaves no file behind; the exit code."""
    print(f"{what}: stopped before the end; nothing was written", file=sys.stderr)
    return 128 + getattr(stop, "signal", signal.SIGINT)
