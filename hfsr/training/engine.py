"""The training loop: one for every recipe, device and number of processes."""

from __future__ import annotations

import copy
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hfsr import hub
from hfsr.data import Batch, Batches
from hfsr.errors import CheckpointError, HubError
from hfsr.options import TrainOptions, written_options
from hfsr.registry import RECIPES

from .checkpoints import Checkpoints
from .folders import RunFolders
from .guard import Guard
from .logbook import Logbook, duration
from .meter import Meter
from .recipes import Recipe, restore, state_of
from .setup import (
    build_batches,
    build_network,
    load_pretrained,
    make_accelerator,
    training_section,
)
from .state import State, newest_state, read_state
from .validation import Best, Validation

__all__ = ["Engine", "train"]

logger = logging.getLogger("hfsr")


def train(
    options: TrainOptions,
    *,
    option_file: Path | None = None,
    overrides: Sequence[str] = (),
    auto_resume: bool = False,
    root: Path | None = None,
) -> Path:
    """Trains what the options say.

    Args:
        options: from `load_options`.
        option_file: copied into the run's folder.
        overrides: changes that were made to it; the copy is then what was really trained.
        auto_resume: go on from the run's newest state where there is one.
        root: directory of `experiments` and `tb_logger`; the current one where not given.

    Returns:
        The folder of the run.

    Raises:
        OptionsError: there is no `train` section or no training set.
        DataError, ImageError: the pictures are missing, unreadable or do not pair.
        HfsrError: a loss or a weight is no longer a number; the last good state is kept.
    """
    engine = Engine(options, root or Path.cwd())
    copy_of_options = None
    if option_file is not None:
        text = written_options(options, overrides) if overrides else option_file.read_text(encoding="utf-8")
        copy_of_options = (option_file.name, text)
    return engine.run(copy_of_options, auto_resume=auto_resume)


class Engine:
    """A run, from its options to its last checkpoint.

    Args:
        options: what to train.
        root: directory of `experiments` and `tb_logger`.
    """

    def __init__(self, options: TrainOptions, root: Path) -> None:
        self.section = training_section(options)
        self.options, self.folders = options, RunFolders(options.name, root)
        self.accelerator = make_accelerator(options, root)
        self.total = options.train.total_iter if options.train else 0
        _seed_all(options.manual_seed)
        network = build_network(options)
        load_pretrained(options, network)
        self.memory_format = torch.channels_last if options.use_channels_last else torch.contiguous_format
        network = network.to(self.accelerator.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.recipe: Recipe = RECIPES[options.model_type](options, network)
        average = self.recipe.averages.get("net_g")
        # A copy that accelerate does not wrap: what is measured and published runs in float32.
        self._published = average.network if average else copy.deepcopy(network).eval()
        self.iteration = self.seen = 0
        self.best: Best | None = None
        self.landmarks: dict[str, float] = {}

    def run(self, option_file: tuple[str, str] | None, *, auto_resume: bool) -> Path:
        """Trains to the end and returns the run's folder.

        Args:
            option_file: name and text of what is kept there of the options.
            auto_resume: go on from the newest state.
        """
        batches = build_batches(self.options, self.accelerator)
        self.validation = Validation(self.options)
        state = self._earlier_state(auto_resume)
        self._make_folders(
            option_file, keep=state is not None or (auto_resume and not self.folders.holds_work())
        )
        if state is not None:
            self._restore(state)
        self.recipe.prepare(self.accelerator)
        if state is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.checkpoints = Checkpoints(self.options, self.folders, self.recipe)
        folder, name = self.folders.experiment, self.options.name
        with Logbook(self.accelerator, folder, name=name, start=self.iteration, total=self.total) as self.log:
            self.accelerator.init_trackers(name)
            self._train(batches)
            self.accelerator.end_training()
        return folder

    def step(self, batches: Batches) -> tuple[dict[str, Tensor], float]:
        """One iteration; returns its losses and the seconds spent on data."""
        self.iteration += 1
        seed = self.options.manual_seed
        _seed_all((seed * 1_000_003 + self.iteration) * 1009 + self.accelerator.process_index)
        for name, optimizer in self.recipe.optimizers.items():
            factor = self.recipe.schedules[name](self.iteration)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        begin = time.perf_counter()
        parts = []
        for _ in range(self.section.accum_iter):
            parts.append(self._to_device(batches.at(self.seen)))
            self.seen += batches.global_batch
        data_time = time.perf_counter() - begin
        losses = self.recipe.step(parts, self.iteration)
        for average in self.recipe.averages.values():
            average.update(self.iteration)
        return losses, data_time

    def published(self) -> nn.Module:
        """The network as it is measured and published: averaged where there is an average."""
        if "net_g" not in self.recipe.averages:
            self._published.load_state_dict(self.recipe.networks["net_g"].state_dict())
        return self._published

    def _to_device(self, batch: Batch) -> Batch:
        device, form = self.accelerator.device, self.memory_format
        if device.type == "cuda" and self.section.pin_memory:
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return {key: value.to(device, memory_format=form, non_blocking=True) for key, value in batch.items()}

    def _train(self, batches: Batches) -> None:
        frequencies, val_freq = self.options.logger, self.options.val.val_freq
        self._introduce(batches)
        if self.iteration == 0:
            self._validate()
        meter, guard = Meter(), Guard(self.folders.states)
        while self.iteration < self.total:
            meter.add(*self.step(batches))
            self.log.step()
            last = self.iteration == self.total
            report = self.iteration % frequencies.print_freq == 0 or last
            measure = self.iteration % val_freq == 0 or last
            save = self.iteration % frequencies.save_checkpoint_freq == 0 or last
            if report or measure or save:
                losses = meter.losses(self.accelerator)
                guard.check_losses(losses, self.iteration)
                if measure or save:
                    guard.check_weights(self.recipe.networks, self.iteration)
                if report:
                    self._report(losses, meter, batches)
                with meter.paused():
                    if measure:
                        self._validate()
                    if save:
                        self._save(batches)
                if report:
                    meter.clear()
        self._conclude()

    def _introduce(self, batches: Batches) -> None:
        network = self.recipe.networks["net_g"]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        source, processes = batches.source, self.accelerator.num_processes
        self.log.line(
            f"{self.options.network_g.type} x{self.options.scale}, {parameters:,} parameters, on "
            f"{self.accelerator.device} in {processes} process(es), "
            f"precision {self.accelerator.mixed_precision}; "
            f"{len(source)} pictures ({source.left_out} smaller than a patch left out), "
            f"batch {batches.global_batch * self.section.accum_iter}"
        )
        if self.iteration:
            self.log.line(f"resuming after iteration {self.iteration:,} of {self.total:,}")

    def _report(self, losses: dict[str, float], meter: Meter, batches: Batches) -> None:
        lr = self.recipe.optimizers["net_g"].param_groups[0]["lr"]
        left = duration((self.total - self.iteration) / meter.speed())
        shown = ", ".join(f"{name} {value:.4e}" for name, value in losses.items())
        self.log.values(self.iteration, {**losses, "lr": lr, "it_per_s": meter.speed()})
        self.log.line(
            f"epoch {batches.epoch_of(self.seen)}, iter {self.iteration:,}: lr {lr:.3e}, {shown}, "
            f"{meter.speed():.2f} it/s, data {meter.data_share():.1%}, time left {left}"
        )
        self.log.beside_the_bar(shown)

    def _validate(self) -> None:
        if self.accelerator.is_main_process and self.validation.sets:
            where = f"iter {self.iteration:,}" if self.iteration else "before training"
            measured = self.validation.measure(self.published(), save=self._picture_file())
            for measurement in measured:
                self.log.line(f"{where}: {measurement}")
                self.log.values(self.iteration, measurement.values())
            first = measured[0].report
            self.landmarks |= {"bicubic": first.bicubic_psnr_y, "end": first.psnr_y}
            self.landmarks.setdefault("start", first.psnr_y)
            best = self.validation.decide(measured, self.iteration, self.best)
            if best is not None:
                self.best = best
                self.checkpoints.save_network("best", self.published())
        self.accelerator.wait_for_everyone()

    def _picture_file(self) -> Callable[[str, str], Path] | None:
        if not self.options.val.save_img:
            return None

        def picture_file(_: str, name: str) -> Path:
            folder = self.folders.visualization / name
            folder.mkdir(exist_ok=True)
            return folder / f"{name}_{self.iteration}.png"

        return picture_file

    def _conclude(self) -> None:
        if self.landmarks:
            start, end, bicubic = (self.landmarks[key] for key in ("start", "end", "bicubic"))
            self.log.line(
                f"{next(iter(self.validation.sets))}, PSNR-Y: bicubic {bicubic:.2f} dB, "
                f"step 0 {start:.2f} dB, end {end:.2f} dB ({end - bicubic:+.2f} dB to bicubic); {self.best}"
            )
        self._publish()
        self.log.line(f"done after {self.total:,} iterations; the weights are in '{self.folders.models}'")

    def _publish(self) -> None:
        """Sends the run's best weights to the Hub; one that is away costs no training."""
        repository = self.options.logger.push_to_hub
        if repository is None or not self.accelerator.is_main_process:
            return
        try:
            self.log.line(f"published: {hub.push_to_hub(self.folders.experiment, repository)}")
        except HubError as error:
            retry = f"hfsr push {self.folders.experiment} {repository}"
            logger.warning("not published: %s; the weights are safe, try again with: %s", error, retry)

    def _save(self, batches: Batches) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.iteration, self.published(), self._state(batches))
        self.accelerator.wait_for_everyone()

    def _state(self, batches: Batches) -> State:
        scaler = self.accelerator.scaler
        return {
            "iter": self.iteration,
            "epoch": batches.epoch_of(self.seen),
            "seen": self.seen,
            "network_g": self.options.network_g.type,
            "scaler": scaler.state_dict() if scaler is not None else {},
            "best": asdict(self.best) if self.best else None,
            "landmarks": self.landmarks,
            **state_of(self.recipe),
        }

    def _earlier_state(self, auto_resume: bool) -> State | None:
        if self.options.path.resume_state is not None:
            return read_state(Path(self.options.path.resume_state).expanduser())
        return newest_state(self.folders.states) if auto_resume else None

    def _restore(self, state: State) -> None:
        """Everything but the scaler, which accelerate makes later.

        Raises:
            CheckpointError: the state is another network's.
        """
        source = f"the training state of iteration {state['iter']:,}"
        if state["network_g"] != self.options.network_g.type:
            raise CheckpointError(f"{source} is of {state['network_g']}: start this run under another name")
        restore(self.recipe, state, source=source)
        self.iteration, self.seen = state["iter"], state["seen"]
        self.best = Best(**state["best"]) if state["best"] else None
        self.landmarks = dict(state["landmarks"])

    def _make_folders(self, option_file: tuple[str, str] | None, *, keep: bool) -> None:
        if self.accelerator.is_main_process:
            archived = self.folders.prepare(keep=keep)
            if archived is not None:
                logger.warning("an earlier run of this name is now '%s'", archived)
            if option_file is not None:
                name, text = option_file
                (self.folders.experiment / name).write_text(text, encoding="utf-8")
        self.accelerator.wait_for_everyone()


def _seed_all(seed: int) -> None:
    """Seeds every generator; done before each iteration, so a resumed run draws the same numbers."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
