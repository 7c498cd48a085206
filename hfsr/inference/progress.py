"""Progress of a run, yielded after each of its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .execution.executor import ExecutionStep

__all__ = ["Progress", "drain", "one_pass", "with_time_left"]

P = TypeVar("P", bound="Progress")
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        done, total: parts finished and parts in all; a network with global pools runs through the image
            once per stage.
        seconds_left: estimate from the remaining arithmetic; None before the first part is done.
    """

    done: int
    total: int
    seconds_left: float | None


def drain(steps: Generator[P, None, T], progress: Callable[[P], None] | None) -> T:
    """Runs steps to the end, reporting each, and returns what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(step)


def one_pass(
    index: int, count: int, steps: Generator[Progress, None, T], *, rest: float | None = None
) -> Generator[Progress, None, T]:
    """Progress of one of `count` passes, counted over all of them.

    Args:
        index: of the pass, from 0.
        count: of the passes.
        steps: of the pass.
        rest: work of the passes to come, as a multiple of that of this one; None if all are equal.
    """
    later = count - 1 - index if rest is None else rest
    started = time.monotonic()
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        left = step.seconds_left
        if left is not None:
            left += later * (time.monotonic() - started + left)
        yield Progress(step.done + index * step.total, step.total * count, left)


def with_time_left(steps: Iterator[ExecutionStep]) -> Iterator[Progress]:
    """Adds the time left, estimated from the share of the arithmetic that is done."""
    started = time.monotonic()
    for step in steps:
        elapsed = time.monotonic() - started
        left = max(1 / step.share - 1, 0.0) * elapsed if step.share else None
        yield Progress(step.done, step.total, left)
