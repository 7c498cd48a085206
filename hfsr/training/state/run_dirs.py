"""The folders of a run, as BasicSR lays them out under the current directory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hfsr.atomic import remove_partial_files

from .training_state import find_states

__all__ = ["RunDirs"]


@dataclass(frozen=True)
class RunDirs:
    """Where a run's files are.

    Args:
        name: name of the run.
        root: directory that holds `experiments`, `results` and `tb_logger`.
    """

    name: str
    root: Path

    @property
    def experiment(self) -> Path:
        return self.root / "experiments" / self.name

    @property
    def models(self) -> Path:
        return self.experiment / "models"

    @property
    def states(self) -> Path:
        return self.experiment / "training_states"

    @property
    def visualization(self) -> Path:
        return self.experiment / "visualization"

    @property
    def results(self) -> Path:
        return self.root / "results" / self.name

    @property
    def tb_logger(self) -> Path:
        return self.root / "tb_logger"

    def prepare(self, *, keep: bool) -> Path | None:
        """Makes the folders; an earlier run of this name is moved away first unless it is kept to go on with.

        Returns:
            Where an earlier run was moved to.
        """
        archived = None
        if not keep and self.experiment.exists():
            stamp = time.strftime("%Y%m%d_%H%M%S")
            archived = _move_away(self.experiment, stamp)
            if (self.tb_logger / self.name).exists():
                _move_away(self.tb_logger / self.name, stamp)
        for folder in (self.models, self.states, self.visualization):
            folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.experiment)
        return archived

    def holds_work(self) -> bool:
        """True when an earlier run of this name has saved anything."""
        return bool(find_states(self.states)) or any(self.models.glob("net_*"))


def _move_away(folder: Path, stamp: str) -> Path:
    target = folder.with_name(f"{folder.name}_archived_{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}_archived_{stamp}_{number}")
    folder.rename(target)
    return target
