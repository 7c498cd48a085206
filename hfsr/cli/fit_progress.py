"""Progress bars of a fit to one image, and the message after Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from hfsr.priors import FitProgress

__all__ = ["GeneratorResult", "report_stop", "show_fit"]

T = TypeVar("T")


class GeneratorResult(Generic[T]):
    """Iterates over a generator and keeps its return value in `value`."""

    value: T

    def __init__(self, steps: Generator[FitProgress, None, T]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[FitProgress]:
        self.value = yield from self.steps


def show_fit(steps: Iterable[FitProgress], *, name: str, quiet: bool) -> list[FitProgress]:
    """Runs a fit to its end and shows a progress bar with the loss for each stage.

    Args:
        steps: the progress that the fit yields.
        name: name of the image.
        quiet: True to show no bars.

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


def report_stop(command: str, stop: KeyboardInterrupt) -> int:
    """Prints that a fit was stopped and wrote nothing, and returns the exit code."""
    print(f"{command}: stopped before the end; nothing was written", file=sys.stderr)
    return 128 + getattr(stop, "signal", signal.SIGINT)
