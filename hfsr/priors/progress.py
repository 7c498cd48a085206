"""How far a fit to one picture has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Clock", "FitProgress", "drain"]

T = TypeVar("T")


@dataclass(frozen=True)
class FitProgress:
    """Where a fit stands.

    Attributes:
        stage: what is being done, in a word or two.
        done, total: steps of this stage; learning may end before all are done.
        loss: of the last step, None where nothing is learned.
        seconds_left: of this stage, at most; None before the first step has ended.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None
    seconds_left: float | None = None


class Clock:
    """Counts one stage's steps and tells the time left at their mean speed.

    Args:
        stage: its name.
        total: its steps.
    """

    def __init__(self, stage: str, total: int) -> None:
        self.stage = stage
        self.total = total
        self._started = time.monotonic()

    def at(self, done: int, loss: float | None = None) -> FitProgress:
        """Where it stands after so many steps."""
        left = (self.total - done) * (time.monotonic() - self._started) / done if done else None
        return FitProgress(self.stage, done, self.total, loss, left)


def drain(steps: Generator[FitProgress, None, T], progress: Callable[[FitProgress], None] | None) -> T:
    """Runs steps to the end, tells of each, and returns what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(step)
