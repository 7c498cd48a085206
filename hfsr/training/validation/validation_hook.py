"""Validation during a run: measures, logs and shows results; saves and publishes the best weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from hfsr.options import TrainOptions

from ..logging.image_grid import ImageGrid
from ..logging.run_logger import RunLogger
from ..logging.trackers import show_image
from ..publisher import Publisher
from ..state.checkpoint_writer import CheckpointWriter
from ..state.run_dirs import RunDirs
from ..state.run_state import RunState
from .validator import Validator

__all__ = ["ValidationHook"]


class ValidationHook:
    """Validates in all processes; the main one logs, and saves the best weights.

    Args:
        options: options of the run.
        accelerator: has the processes and the trackers.
        folders: folders of the run, for restored images.
        validation: the validation sets.
        checkpoints: saves the best weights.
        publisher: uploads them to the Hub, if requested.
        log: receives the results.
    """

    def __init__(
        self,
        options: TrainOptions,
        accelerator: Accelerator,
        folders: RunDirs,
        *,
        validation: Validator,
        checkpoints: CheckpointWriter,
        publisher: Publisher | None,
        log: RunLogger,
    ) -> None:
        self.options, self.accelerator, self.folders = options, accelerator, folders
        self.validation, self.checkpoints = validation, checkpoints
        self.publisher, self.log = publisher, log

    def measure(self, network: nn.Module, progress: RunState) -> None:
        """Measures the network after `progress.iteration` iterations, if there are validation sets.

        Records the results, and the best value up to now, in `progress`.
        """
        self._restore_sets_without_gt(network, progress.iteration)
        if not self.validation.sets:
            return
        grid = ImageGrid(self.options.logger.grid_images if self.accelerator.trackers else 0)
        iteration, main = progress.iteration, self.accelerator.is_main_process
        measured = self.validation.measure(network, save=self._image_file(iteration), show=grid.add)
        where = f"iter {iteration:,}" if iteration else "before training"
        for measurement in measured:
            self.log.line(f"{where}: {measurement}")
            self.log.metrics(iteration, measurement.values())
        if main and (image := grid.image()) is not None:
            show_image(self.accelerator, f"{measured[0].set}: lq, sr, gt", image, iteration)
        progress.note(measured[0].report)
        best = self.validation.decide(measured, iteration, progress.best)
        if best is not None:
            progress.best = best
            if main:
                self.checkpoints.save_network("best", network)
            if self.publisher:
                self.publisher.submit([measurement.report for measurement in measured])
        self.accelerator.wait_for_everyone()

    def _restore_sets_without_gt(self, network: nn.Module, iteration: int) -> None:
        validation = self.validation
        if not (self.options.val.save_img or validation.metrics_without_reference):
            if validation.sets_without_gt and iteration == 0:
                names = ", ".join(validation.sets_without_gt)
                self.log.line(f"{names}: no ground truth; val.save_img: true writes the restored images")
            return
        where = f"iter {iteration:,}" if iteration else "before training"
        for restored in validation.restore(network, save=self._image_file(iteration)):
            self.log.line(f"{where}: {restored}")
            self.log.metrics(iteration, {f"{restored.set}/{k}": v for k, v in restored.metrics.items()})

    def _image_file(self, iteration: int) -> Callable[[str, str], Path] | None:
        if not self.options.val.save_img:
            return None

        several = len(self.validation.sets) + len(self.validation.sets_without_gt) > 1

        def image_file(set_name: str, name: str) -> Path:
            """Returns BasicSR's path; if there are several sets, in a folder of the set's name."""
            folder = self.folders.visualization / set_name if several else self.folders.visualization
            return folder / name / f"{Path(name).name}_{iteration}.png"

        return image_file
