"""Folders of a run, in BasicSR's layout under the current directory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hfsr.atomic import remove_partial_files

from .training_state import find_states

__all__ = ["RunDirs"]


@dataclass(frozen=True)
class RunDirs:
    """Paths of a run's folders.

    Args:
        name: name of the run.
        root: directory of `experiments`, `results` and `tb_logger`.
    """

    name: str
    root: Path

    @property
    def experiment(self) -> Path:
        """Folder of the run."""
        return self.root / "experiments" / self.name

    @property
    def models(self) -> Path:
        """Folder of the weights."""
        return self.experiment / "models"

    @property
    def states(self) -> Path:
        """Folder of the training states."""
        return self.experiment / "training_states"

    @property
    def visualization(self) -> Path:
        """Folder of the images restored in validation."""
        return self.experiment / "visualization"

    @property
    def results(self) -> Path:
        """Folder of the results of `hfsr test`."""
        return self.root / "results" / self.name

    @property
    def tb_logger(self) -> Path:
        """Folder of the tensorboard logs of all runs."""
        return self.root / "tb_logger"

    def prepare(self, *, keep: bool) -> Path | None:
        """Creates the folders; moves an earlier run of this name away unless `keep` is true.

        Returns:
            The new folder of an earlier run, or None.
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
        """Returns True if an earlier run of this name has saved a state or weights."""
        return bool(find_states(self.states)) or any(self.models.glob("net_*"))


def _move_away(folder: Path, stamp: str) -> Path:
    target = folder.with_name(f"{folder.name}_archived_{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}_archived_{stamp}_{number}")
    folder.rename(target)
    return target
