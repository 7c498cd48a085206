"""Runs a fine-tuning: writes its option file, trains, and compares the weights on the held-out photos."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hfsr import hub
from hfsr.evaluation import Report
from hfsr.options import TrainOptions
from hfsr.publishing.publishable import open_publishable
from hfsr.publishing.staging import stage_model

from ..dry_run import DryRunReport, check_training
from ..engine import train
from ..setup import load_options
from ..state.run_dirs import RunDirs
from ..validation.validator import Validator
from .plan import FinetunePlan, FinetuneSettings, plan_finetuning, write_plan

__all__ = ["FOLDER", "FinetuneResult", "check_finetuning", "finetune"]

FOLDER = Path("finetune")
"""Folder of the option files and of the lists of photos."""
_GAIN = 0.005
"""PSNR-Y in dB below which nothing was gained: half of the last digit that is shown."""


@dataclass(frozen=True)
class FinetuneResult:
    """Comparison on the held-out photos.

    Attributes:
        run: folder of the run.
        card_folder: model folder with the card, ready for `hfsr push`; made again by it.
        before: results of the model that the training started from.
        after: results of the best weights.
    """

    run: Path
    card_folder: Path
    before: Report
    after: Report

    @property
    def gain(self) -> float:
        """Gain of PSNR-Y in dB."""
        return self.after.psnr_y - self.before.psnr_y

    @property
    def has_gained(self) -> bool:
        """True if PSNR-Y on the held-out photos has risen."""
        return self.gain >= _GAIN

    @property
    def improved(self) -> int:
        """Number of held-out photos with a higher PSNR-Y than before."""
        pairs = zip(self.before.per_image, self.after.per_image, strict=True)
        return sum(after.psnr_y > before.psnr_y for before, after in pairs)


def finetune(
    settings: FinetuneSettings,
    *,
    overrides: Sequence[str] = (),
    auto_resume: bool = False,
    on_plan: Callable[[FinetunePlan, Path], None] = lambda plan, path: None,
) -> FinetuneResult:
    """Trains a model on photos, as `basicsr train` does with the option file that is written first.

    Args:
        settings: requests of the user.
        overrides: changes of the option file, of the form `a:b=c`.
        auto_resume: True to resume from the run's newest state, if there is one.
        on_plan: receives the plan and the path of the option file before the training.

    Raises:
        HfsrError: as `plan_finetuning`, `write_plan` and `train` do.
        TrainingStopped: when a signal has stopped the run; its state is saved.
    """
    plan = plan_finetuning(settings, FOLDER)
    path = write_plan(plan, FOLDER)
    on_plan(plan, path)
    options = load_options(path, overrides)
    folder = train(options, option_file=path, overrides=overrides, auto_resume=auto_resume)
    best = RunDirs(options.name, Path.cwd()).models / "net_g_best"
    before = _measure(options, hub.from_pretrained(settings.model))
    after = _measure(options, hub.from_pretrained(best))
    run = folder.relative_to(Path.cwd())
    model = open_publishable(run)
    staged = stage_model(model, name=plan.name, license=settings.license, reports=[after.to_json()])
    return FinetuneResult(run, staged, before, after)


def check_finetuning(
    settings: FinetuneSettings, *, overrides: Sequence[str] = ()
) -> tuple[FinetunePlan, str, DryRunReport]:
    """Validates a fine-tuning as `basicsr train --check` does; leaves no file behind.

    Returns:
        The plan, the text of its option file, and the predicted cost.

    Raises:
        HfsrError: for any error that would stop the training at its start.
    """
    plan = plan_finetuning(settings, FOLDER)
    with tempfile.TemporaryDirectory() as temporary:
        text = write_plan(plan, FOLDER, root=Path(temporary)).read_text(encoding="utf-8")
        lists = [
            f"datasets:{key}:meta_info_file={Path(temporary) / section['meta_info_file']}"
            for key, section in plan.options["datasets"].items()
        ]
        options = load_options(Path(temporary) / FOLDER / f"{plan.name}.yml", [*overrides, *lists])
        return plan, text, check_training(options)


def _measure(options: TrainOptions, network: nn.Module) -> Report:
    """Measures a network on the held-out photos, as the training's validation does."""
    use_gpu = options.num_gpu != 0 and torch.cuda.is_available()
    network = network.to("cuda" if use_gpu else "cpu").eval()
    return Validator(options).measure(network)[0].report
