"""Where a run stands, told after each of its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .planning.planner import Plan
from .program.geometry import Region, Size

__all__ = ["Progress", "drain", "one_pass", "timed"]

P = TypeVar("P", bound="Progress")
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        done, total: pieces finished and pieces in all; a network with global pools visits each place many
        times. seconds_left: estimate from the arithmetic still to do, None before the first piece has ended.
    """

    done: int
    total: int
    seconds_left: float | None


def drain(steps: Generator[P, None, T], progress: Callable[[P], None] | None) -> T:
    """Runs steps to the end and returns what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(step)


def one_pass(index: int, count: int, steps: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
    """Progress of one of `count` equal passes, counted over all of them."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        left = (
            None if step.seconds_left is None else step.seconds_left + (count - 1 - index) * step.seconds_left
        )
        yield Progress(step.done + index * step.total, step.total * count, left)


def timed(run: Iterator[tuple[int, Region]], plan: Plan, size: Size) -> Iterator[Progress]:
    """Counts parts, and tells the time left from the arithmetic done so far."""
    total = _parts(plan, size)
    started, spent = time.monotonic(), 0.0
    for done, (stage, part) in enumerate(run, start=1):
        spent += plan.stage_flops[stage] * part.area / (size.height * size.width)
        elapsed = time.monotonic() - started
        yield Progress(min(done, total), total, max(plan.flops / spent - 1, 0.0) * elapsed if spent else None)


def _parts(plan: Plan, size: Size) -> int:
    """Pieces or bands of all stages."""
    if plan.bands:
        return sum(
            size.height // b.rows * -(-b.rows // b.wide) + -(-(size.height % b.rows) // b.wide)
            for b in plan.bands
        )
    tile = plan.tile or max(size)
    return -(-size.height // tile) * -(-size.width // tile) * len(plan.stage_flops)
