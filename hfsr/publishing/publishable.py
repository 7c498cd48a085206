"""Models that can be published: a training run, a model folder, a checkpoint or a bundled model."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hfsr import _resources
from hfsr.checkpoints import load_checkpoint, read_model_folder
from hfsr.errors import CheckpointError
from hfsr.evaluation.degradation_spec import TASKS
from hfsr.hub.cards.option_file import OptionFile, read_text
from hfsr.hub.cards.schema import CURVE, Provenance, TrainingInfo
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.repo_formats import CONFIG, README, WEIGHTS
from hfsr.hub.download.resolve import float_model_of, task_in
from hfsr.hub.model_origin import bundled_card, bundled_option_file, option_file_in
from hfsr.hub.run_folder import read_run

__all__ = ["PublishableModel", "open_publishable", "read_provenance"]

KINDS = "name a run (experiments/NAME), a model folder, a checkpoint or a bundled model"


@dataclass(frozen=True, kw_only=True)
class PublishableModel:
    """A local model, and what is known about it.

    Attributes:
        name: the source as the user names it, for messages.
        model: the network with its weights.
        folder: the model folder that is or will be written; for checkpoints and bundled models in the current
            directory.
        weights: file or folder that the weights were read from.
        has_folder: True if `folder` already holds config and weights.
        has_own_folder: True if nothing but this source is ever written into `folder`.
        card: the text of the existing card.
        example: file of the example image that the card shows.
        curve: file of the training curve.
        task: of the weights; the network's usual task if None.
        option_file: of the training.
        provenance: of converted weights.
        start: what a network's card says of the model that it was loaded from and that it differs from.
        license: of the weights, as the option file states it, or of the model that a network was loaded from.
    """

    name: str
    model: nn.Module
    folder: Path
    weights: Path
    has_folder: bool = False
    has_own_folder: bool = False
    card: str | None = None
    example: Path | None = None
    curve: Path | None = None
    task: str | None = None
    option_file: OptionFile | None = None
    provenance: Provenance | None = None
    start: TrainingInfo | None = None
    license: str | None = None

    @property
    def scale(self) -> float:
        """Px of the result per px of LQ."""
        return float(getattr(self.model, "scale", 1))

    def with_task(self, key: str | None) -> PublishableModel:
        """Sets the task from a key of the command line, unless a card or the config states a specific one."""
        if key is None or self.card is not None or self.task not in (None, "restoration"):
            return self
        return dataclasses.replace(self, task=TASKS[key], has_folder=False)


def open_publishable(source: str | Path) -> PublishableModel:
    """Reads a model that can be published.

    Args:
        source: a run's folder (`experiments/NAME`: its best weights, else the latest), a model folder, a
            checkpoint file or a bundled model's name.

    Raises:
        CheckpointError: it is none of these, or its weights cannot be read.
    """
    path, name = Path(source).expanduser(), str(source)
    if name in _resources.bundled_models():
        return _open_bundled(name)
    if (original := float_model_of(name)) is not None:
        raise CheckpointError(
            f"'{name}' is made of '{original}' when it is loaded; publish that one, or a folder of "
            "'hfsr quantize'"
        )
    if (path / CONFIG).is_file():
        return _open_model_folder(path, name)
    if (path / "models").is_dir():
        return _open_experiment(path, name)
    if path.is_file():
        return PublishableModel(
            name=name,
            model=load_checkpoint(path),
            folder=Path(f"{path.stem}_hub"),
            weights=path,
            task=task_in(path),
            provenance=read_provenance(path),
        )
    if path.is_dir():
        raise CheckpointError(
            f"'{source}' holds neither {CONFIG} nor models/; name a run (experiments/NAME), a model folder "
            "or a checkpoint"
        )
    neighbors = {other.name: str(other) for other in path.parent.glob("*")}
    near = difflib.get_close_matches(path.name, [*neighbors, *_resources.bundled_models()], n=1)
    hint = f"did you mean '{neighbors.get(near[0], near[0])}'?" if near else KINDS
    raise CheckpointError(f"there is nothing at '{source}' to publish; {hint}")


def _open_bundled(name: str) -> PublishableModel:
    folder, known = _resources.path("weights", name), bundled_card(name)
    cards = _resources.folder("model_cards")
    example, curve = (cards / f"{name}{suffix}" for suffix in (".webp", ".png"))
    return PublishableModel(
        name=name,
        model=read_model_folder(folder),
        folder=Path(f"{name}_hub"),
        weights=folder,
        card=known.text if known else None,
        example=example if example.is_file() else None,
        curve=curve if curve.is_file() else None,
        task=task_in(folder),
        option_file=bundled_option_file(name),
    )


def _open_model_folder(folder: Path, name: str) -> PublishableModel:
    card = folder / README
    return PublishableModel(
        name=name,
        model=read_model_folder(folder),
        folder=folder,
        weights=folder / WEIGHTS,
        has_folder=True,
        card=read_text(card) if card.is_file() else None,
        task=task_in(folder),
        option_file=option_file_in(folder),
    )


def _open_experiment(folder: Path, name: str) -> PublishableModel:
    run = read_run(folder)
    curve = folder / CURVE
    return PublishableModel(
        name=name,
        model=run.model,
        folder=folder / "hub",
        has_own_folder=True,
        weights=run.weights,
        curve=curve if curve.is_file() else None,
        task=(run.option_file and run.option_file.task) or task_in(run.weights),
        option_file=run.option_file,
        license=run.option_file.license if run.option_file else None,
    )


def read_provenance(path: Path, *, license: str | None = None) -> Provenance:
    """The provenance of a weights file: its name and hash."""
    return Provenance(source=path.name, sha256=sha256_of(path), license=license)
