"""Progress reports of a fit to one image."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hfsr.inference import Progress

__all__ = ["FitProgress", "StageTimer"]


@dataclass(frozen=True, kw_only=True)
class FitProgress(Progress):
    """Progress within one stage of a fit, in steps; training may end before all steps are done.

    Attributes:
        stage: short name of the stage, for example "learning".
        loss: training loss of the last step; None in stages that do not train.
    """

    stage: str
    loss: float | None = None


class StageTimer:
    """Creates the progress reports of one stage; the time left is extrapolated from the mean step time.

    Args:
        stage: name of the stage.
        total: number of steps in the stage.
    """

    def __init__(self, stage: str, total: int) -> None:
        self.stage = stage
        self.total = total
        self._started = time.monotonic()

    def progress(self, done: int, loss: float | None = None) -> FitProgress:
        """Returns the report after `done` steps."""
        left = (self.total - done) * (time.monotonic() - self._started) / done if done else None
        return FitProgress(done, self.total, left, stage=self.stage, loss=loss)
