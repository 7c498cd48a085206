"""How far a fit to one picture has come."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hfsr.inference import Progress

__all__ = ["Clock", "FitProgress"]


@dataclass(frozen=True, kw_only=True)
class FitProgress(Progress):
    """Where a fit stands: steps of one stage; learning may end before all are done.

    Attributes:
        stage: what is being done, in a word or two.
        loss: of the last step, None where nothing is learned.
    """

    stage: str
    loss: float | None = None


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
        return FitProgress(done, self.total, left, stage=self.stage, loss=loss)
