"""The training loop of every recipe, on any device and number of processes."""

from __future__ import annotations

import copy
import logging
import random
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from hfsr.data import Batches
from hfsr.options import TrainOptions, flat_options, written_options
from hfsr.registry import RECIPES

from .logging.log_messages import LogMessages, shown
from .logging.run_logger import RunLogger
from .logging.trackers import build_trackers, check_trackers, run_names
from .loop.device_placement import DevicePlacement
from .loop.finite_check import FiniteCheck
from .loop.grad_checkpointing import checkpoint_blocks
from .loop.main_process import in_main_process
from .loop.prefetch import BatchPrefetcher
from .loop.stop_signals import StopSignals, TrainingStopped
from .loop.throughput import ThroughputMeter
from .pretrained import load_pretrained
from .publisher import Publisher, check_push
from .recipes import Recipe
from .setup import (
    build_batches,
    build_network,
    check_channels,
    make_accelerator,
    training_section,
    translate_compiler_errors,
)
from .state.changed_options import check_changes
from .state.checkpoint_writer import CheckpointWriter
from .state.run_dirs import RunDirs
from .state.run_lock import RunLock
from .state.run_state import RunState
from .state.training_state import EarlierState, earlier_state, write_state
from .used_options import check_used_options, unread_keys
from .validation.validation_hook import ValidationHook
from .validation.validator import Validator

__all__ = ["Engine", "train"]

logger = logging.getLogger("hfsr")

_POLL_SECONDS = 5.0
"""Seconds between two attempts to take the lock of a run."""


def train(
    options: TrainOptions,
    *,
    option_file: Path | None = None,
    overrides: Sequence[str] = (),
    auto_resume: bool = False,
    wait: bool = False,
    root: Path | None = None,
) -> Path:
    """Runs the training that the options describe.

    Args:
        options: the result of `load_options`.
        option_file: the file of the options, copied into the run's folder.
        overrides: changes of the options; if there are any, the copy contains the changed options instead, as
            it does in hfsr's keys if the file has those of another program.
        auto_resume: True to resume from the run's newest state, if there is one.
        wait: True to wait while another process trains this run, instead of raising an error.
        root: directory of `experiments` and `tb_logger` (default: the current one).

    Returns:
        The folder of the run.

    Raises:
        OptionsError: if there is no `train` section or no training set.
        DataError, ImageError: if the images are missing, unreadable or do not pair.
        HfsrError: if another process trains this run, or a loss or a weight is no longer finite.
        TrainingStopped: when a signal has stopped the run; its state is saved.
    """
    engine = Engine(options, root or Path.cwd())
    copy_of_options = None
    if option_file is not None:
        rewritten = bool(overrides) or options.is_translated
        text = written_options(options, overrides) if rewritten else option_file.read_text(encoding="utf-8")
        copy_of_options = (option_file.name, text)
    return engine.run(copy_of_options, auto_resume=auto_resume, wait=wait)


class Engine:
    """One training run, from its options to its last checkpoint.

    Args:
        options: options of the run.
        root: directory of `experiments` and `tb_logger`.
    """

    def __init__(self, options: TrainOptions, root: Path) -> None:
        self.section = training_section(options)
        check_used_options(options)
        check_trackers(options)
        check_push(options)
        self.folders = RunDirs(options.name, root)
        self.accelerator = make_accelerator(options)
        if options.is_seed_drawn:  # by every process
            options = _with_seed(options, in_main_process(self.accelerator, lambda: options.manual_seed))
        self.options = options
        self.placement = DevicePlacement.of(options, self.accelerator.device)
        self.total = options.train.total_iter if options.train else 0
        _seed_all(options.manual_seed)
        network = build_network(options)
        check_channels(options, network)
        self.start = load_pretrained(options, network)
        self.recipe: Recipe = RECIPES[options.model_type](options, self.placement.network(network))
        self.recipe.find_unused_parameters = options.find_unused_parameters
        for part in (*self.recipe.networks.values(), *(a.network for a in self.recipe.averages.values())):
            self.placement.network(part)
        average = self.recipe.averages.get("net_g")
        # A copy that accelerate does not wrap: validation and publication use float32.
        self._published = average.network if average else copy.deepcopy(network).eval()
        if options.use_checkpointing:
            checkpoint_blocks(network)
        self.progress = RunState()
        self._changes: list[str] = []

    @property
    def iteration(self) -> int:
        """Number of finished iterations."""
        return self.progress.iteration

    def run(self, option_file: tuple[str, str] | None, *, auto_resume: bool, wait: bool = False) -> Path:
        """Trains to the end and returns the run's folder.

        Args:
            option_file: name and text of the copy of the options in the run's folder.
            auto_resume: True to resume from the newest state.
            wait: True to wait until no other process trains this run.
        """
        lock = RunLock(self.folders.experiment)
        if wait:
            self._wait_for(lock)
        else:
            in_main_process(self.accelerator, lock.acquire)
        try:
            return self._run(option_file, auto_resume=auto_resume)
        finally:
            lock.release()

    def _wait_for(self, lock: RunLock) -> None:
        """Takes the lock as soon as it is free."""
        is_reported = False
        while (holder := in_main_process(self.accelerator, lock.try_acquire)) is not None:
            if self.accelerator.is_main_process and not is_reported:
                logger.warning("waiting for the run '%s', which is trained by %s", lock.name, holder)
            is_reported = True
            time.sleep(_POLL_SECONDS)

    def _run(self, option_file: tuple[str, str] | None, *, auto_resume: bool) -> Path:
        earlier = earlier_state(self.options, self.folders, auto_resume=auto_resume)
        if earlier is not None and self.options.is_seed_drawn:
            drawn_before = earlier.state.get("options", {}).get("manual_seed", self.options.manual_seed)
            self.options = _with_seed(self.options, drawn_before)
        batches = build_batches(self.options, self.accelerator)
        validation = Validator(self.options, self.accelerator)
        repository = self.options.logger.push_to_hub if self.accelerator.is_main_process else None
        self.publisher = Publisher(self.folders.experiment, repository) if repository else None
        self._resume(earlier, option_file, auto_resume=auto_resume)
        batches.continue_from(self.progress.seen, self.iteration)
        self.checkpoints = CheckpointWriter(self.options, self.folders, self.recipe)
        folder, name = self.folders.experiment, self.options.name
        with (
            closing(BatchPrefetcher(batches, self.section.num_worker_per_gpu)) as stream,
            RunLogger(
                self.accelerator,
                folder,
                name=name,
                start=self.iteration,
                total=self.total,
                json_lines=self.options.logger.json_lines,
            ) as self.log,
        ):
            self.measuring = ValidationHook(
                self.options,
                self.accelerator,
                self.folders,
                validation=validation,
                checkpoints=self.checkpoints,
                publisher=self.publisher,
                log=self.log,
            )
            self._start_trackers()
            try:
                with StopSignals(self.accelerator) as signals:
                    self._train(stream, signals)
            except BaseException:
                for tracker in self.accelerator.trackers:
                    tracker.finish()
                if self.publisher:
                    self.publisher.abandon()
                raise
            self.accelerator.end_training()
        return folder

    def step(self, stream: BatchPrefetcher) -> tuple[dict[str, Tensor], float]:
        """Runs one iteration; returns its losses and the seconds of waiting for data."""
        self.progress.iteration += 1
        seed = self.options.manual_seed
        _seed_all((seed * 1_000_003 + self.iteration) * 1009 + self.accelerator.process_index)
        for name, optimizer in self.recipe.optimizers.items():
            factor = self.recipe.schedules[name](self.iteration)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        begin = time.perf_counter()
        parts = []
        for _ in range(self.section.accum_iter):
            parts.append(self.placement.batch(stream.at(self.progress.seen)))
            self.progress.seen += stream.batches.global_batch
        data_time = time.perf_counter() - begin
        with translate_compiler_errors(self.options.use_compile):
            losses = self.recipe.step(parts, self.iteration)
        for average in self.recipe.averages.values():
            average.update(self.iteration)
        return losses, data_time

    def published(self) -> nn.Module:
        """Returns the network that is validated and published: the averaged one, if there is an average."""
        if "net_g" not in self.recipe.averages:
            self._published.load_state_dict(self.recipe.networks["net_g"].state_dict())
        if self.accelerator.num_processes > 1:
            # Buffers differ between processes. Those of the main process are saved, so validation uses them.
            for buffer in self._published.buffers():
                torch.distributed.broadcast(buffer, 0)
        return self._published

    def _train(self, stream: BatchPrefetcher, signals: StopSignals) -> None:
        frequencies, val_freq = self.options.logger, self.options.val.val_freq
        if self.iteration and self.iteration >= self.total:
            self._say_nothing_is_left()
            return
        telling = LogMessages(self.options, self.accelerator, stream.batches, self.recipe)
        for line in telling.introduction(self.start, self.iteration):
            self.log.line(line)
        if self._changes:
            self.log.line(f"resuming under changed options: {'; '.join(self._changes)}")
        if self.iteration == 0:
            self.measuring.measure(self.published(), self.progress)
            self.log.end_report()
        meter, guard = ThroughputMeter(), FiniteCheck(self.folders.states)
        while self.iteration < self.total:
            meter.add(*self.step(stream))
            self.log.step()
            last = self.iteration == self.total
            stop = signals.agreed(self.iteration)
            report = self.iteration % frequencies.print_freq == 0 or last
            measure = self.iteration % val_freq == 0 or last
            save = self.iteration % frequencies.save_checkpoint_freq == 0 or last or stop != 0
            if report or measure or save:
                losses = meter.losses(self.accelerator)
                guard.check_losses(losses, self.iteration)
                if measure or save:
                    guard.check_weights(self.recipe, self.iteration)
                if report:
                    self._report(telling, losses, meter)
                with meter.paused():
                    if measure:
                        self.measuring.measure(self.published(), self.progress)
                    self.log.end_report()  # before the state: a resumed run does not repeat this iteration
                    if save:
                        self._save(stream.batches)
                if report:
                    meter.clear()
            if stop and not last:
                self._stop(stop)
        self._conclude()

    def _stop(self, number: int) -> NoReturn:
        self.log.line(
            f"stopped by {signal.Signals(number).name} after iteration {self.iteration:,} of {self.total:,}; "
            f"its state is saved in '{self.folders.states}': resume with --auto_resume"
        )
        raise TrainingStopped(number)

    def _report(self, telling: LogMessages, losses: dict[str, float], meter: ThroughputMeter) -> None:
        self.log.report(self.iteration, losses, lr=telling.rate(), it_per_s=meter.speed())
        self.log.line(telling.report(self.progress, losses, meter))
        self.log.beside_the_bar(shown(losses))
        if self.publisher:
            self.publisher.poll()

    def _say_nothing_is_left(self) -> None:
        self.log.line(
            f"nothing is left to do: the run has {self.iteration:,} iterations, and train.total_iter is "
            f"{self.total:,}; the weights are in '{self.folders.models}'"
        )
        if self.publisher:
            self.publisher.finish()

    def _conclude(self) -> None:
        if summary := self.progress.summary(self.measuring.validation.sets):
            self.log.line(summary)
        self.log.draw_curve()
        if self.publisher:
            self.publisher.finish()
        self.log.line(f"done after {self.total:,} iterations; the weights are in '{self.folders.models}'")

    def _save(self, batches: Batches) -> None:
        network = self.published()
        if self.accelerator.is_main_process:
            state = self.progress.state(
                self.recipe,
                network_g=self.options.network_g.type,
                epoch=batches.epoch_of(self.progress.seen),
                scaler=self.accelerator.scaler,
                options=flat_options(self.options),
            )
            self.checkpoints.save(self.iteration, network, state)
        self.accelerator.wait_for_everyone()

    def _resume(
        self, earlier: EarlierState | None, option_file: tuple[str, str] | None, *, auto_resume: bool
    ) -> None:
        """Restores an earlier state if there is one, creates the folders, and prepares the recipe."""
        state = earlier.state if earlier is not None else None
        if state is not None:  # before anything is written, because the state may be rejected
            self.progress = RunState.restored(state, self.recipe, network_g=self.options.network_g.type)
            source = f"the training state of iteration {self.iteration:,}"
            now = flat_options(self.options)
            unread = unread_keys(self.options.model_type)
            self._changes = check_changes(state.get("options", {}), now, source=source, unread=unread)
        self._make_folders(option_file, earlier, auto_resume=auto_resume)
        self.recipe.prepare(self.accelerator)
        if state is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _make_folders(
        self, option_file: tuple[str, str] | None, earlier: EarlierState | None, *, auto_resume: bool
    ) -> None:
        """Creates the folders; moves an earlier run away unless this one continues it.

        A run that resumes from another state than its newest one would otherwise mix two histories: later
        states would be the newest ones, and `net_g_best` would be of iterations that did not happen.
        """
        if earlier is None:
            keep = auto_resume and not self.folders.holds_work()
        else:
            keep = earlier.is_newest or self.iteration >= self.total
        if earlier is not None and not keep:
            # The best weights are not in the new folder, and curves of trackers cannot go back.
            self.progress.best, self.progress.trackers = None, {}
        self.accelerator.wait_for_everyone()  # until every process has read the state
        if self.accelerator.is_main_process:
            archived = self.folders.prepare(keep=keep)
            if archived is not None:
                logger.warning("an earlier run of this name is now '%s'", archived)
            if earlier is not None and not keep:  # --auto_resume finds it before another one is saved
                start = {**earlier.state, "best": None, "trackers": {}}
                write_state(self.folders.states, start, keep=self.options.logger.keep_states)
            if option_file is not None:
                name, text = option_file
                (self.folders.experiment / name).write_text(text, encoding="utf-8")
        self.accelerator.wait_for_everyone()

    def _start_trackers(self) -> None:
        """Starts the trackers, which need the run's folder and its first iteration."""
        names = run_names(self.options, self.progress.trackers)
        self.progress.trackers = names
        root = self.folders.root
        self.accelerator.log_with = build_trackers(self.options, root, names=names, start=self.iteration)
        self.accelerator.init_trackers(self.options.name)


def _with_seed(options: TrainOptions, seed: int) -> TrainOptions:
    return options.model_copy(update={"manual_seed": seed})


def _seed_all(seed: int) -> None:
    """Seeds every random number generator before each iteration: a resumed run draws the same numbers."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
