"""What can be published: a run, a model folder, a checkpoint, a bundled model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hfsr import _resources, zoo
from hfsr.checkpoints import load_checkpoint, load_weights, read_model_folder, read_state_dict
from hfsr.errors import CheckpointError
from hfsr.hub.cards.option_file import OptionFile, read_option_file, read_text
from hfsr.hub.cards.schema import CURVE, EXAMPLE, OPTION_FILE, Provenance
from hfsr.hub.download.cache_check import sha256_of
from hfsr.hub.download.repo_formats import CONFIG, README, WEIGHTS
from hfsr.hub.download.resolve import task_in

__all__ = ["PublishableModel", "open_publishable", "read_provenance"]

LABELS = ("best", "latest")
"""What a run calls the weights worth publishing, in order of preference; numbered ones come after."""


@dataclass(frozen=True, kw_only=True)
class PublishableModel:
    """A model on this machine, and what is known about it."""

    model: nn.Module
    folder: Path
    """Where its model folder is or will be; checkpoints and bundled models get one under the current one."""
    weights: Path
    """The file or folder that the weights were read from."""
    complete: bool = False
    """True when `folder` already holds config and weights."""
    card: str | None = None
    example: Path | None = None
    """The picture that the card shows."""
    curve: Path | None = None
    """The course of the training, as a picture."""
    task: str | None = None
    """What the weights are for; the network's usual task when None."""
    option_file: OptionFile | None = None
    """The option file that trained them."""
    provenance: Provenance | None = None

    @property
    def scale(self) -> float:
        """px of the result per px of LQ."""
        return float(getattr(self.model, "scale", 1))


def open_publishable(src: str | Path) -> PublishableModel:
    """Reads something that can be published.

    Args:
        src: a run's folder (`experiments/NAME`: its best weights, else the latest), a model folder, a
            checkpoint file or a bundled model's name.

    Raises:
        CheckpointError: it is none of these, or its weights cannot be read.
    """
    path = Path(src).expanduser()
    if str(src) in _resources.bundled_models():
        return _open_bundled(str(src))
    if (path / CONFIG).is_file():
        return _open_model_folder(path)
    if (path / "models").is_dir():
        return _open_experiment(path)
    if path.is_file():
        return PublishableModel(
            model=load_checkpoint(path),
            folder=Path(f"{path.stem}_hub"),
            weights=path,
            task=task_in(path),
            provenance=read_provenance(path),
        )
    if path.is_dir():
        raise CheckpointError(
            f"'{src}' holds neither {CONFIG} nor models/; name a run (experiments/NAME), a model folder or a "
            "checkpoint"
        )
    known = {other.name: str(other) for other in path.parent.glob("*")}
    near = difflib.get_close_matches(path.name, [*known, *_resources.bundled_models()], n=1)
    hint = "name a run (experiments/NAME), a model folder, a checkpoint or a bundled model"
    hint = f"did you mean '{known.get(near[0], near[0])}'?" if near else hint
    raise CheckpointError(f"there is nothing at '{src}' to publish; {hint}")


def _open_bundled(name: str) -> PublishableModel:
    folder = _resources.path("weights", name)
    cards = _resources.folder("model_cards")
    card, picture, curve = (cards / f"{name}{end}" for end in (".md", ".webp", ".png"))
    text, option_file = (read_text(card) if card.is_file() else None), None
    if text is not None:
        text = text.replace(f"]({picture.name})", f"]({EXAMPLE})").replace(f"]({curve.name})", f"]({CURVE})")
        if link := re.search(r"\]\(\.\./options/([\w.-]+)\)", text):
            text = text.replace(link[0], f"]({OPTION_FILE})")
            option_file = read_option_file(_resources.path("options", link[1]))
    return PublishableModel(
        model=read_model_folder(folder),
        folder=Path(f"{name}_hub"),
        weights=folder,
        card=text,
        example=picture if picture.is_file() else None,
        curve=curve if curve.is_file() else None,
        task=task_in(folder),
        option_file=option_file,
    )


def _open_model_folder(folder: Path) -> PublishableModel:
    card, option_file = folder / README, folder / OPTION_FILE
    return PublishableModel(
        model=read_model_folder(folder),
        folder=folder,
        weights=folder / WEIGHTS,
        complete=True,
        card=read_text(card) if card.is_file() else None,
        task=task_in(folder),
        option_file=read_option_file(option_file) if option_file.is_file() else None,
    )


def _open_experiment(folder: Path) -> PublishableModel:
    weights = _best_weights(folder)
    copy = _copied_option_file(folder)
    option_file = read_option_file(copy) if copy else None
    curve = folder / CURVE
    network = option_file.options.get("network_g") if option_file else None
    if weights.is_dir():
        model = read_model_folder(weights)
    elif option_file and isinstance(network, Mapping):
        model = _build(network, scale=option_file.options.get("scale"))
        state_dict, _ = read_state_dict(weights)
        load_weights(model, state_dict, source=f"'{weights}'")
    else:
        model = load_checkpoint(weights)
    return PublishableModel(
        model=model.eval(),
        folder=folder / "hub",
        weights=weights,
        curve=curve if curve.is_file() else None,
        task=(option_file and option_file.task) or task_in(weights),
        option_file=option_file,
    )


def _best_weights(folder: Path) -> Path:
    """A run's weights that are worth publishing: a model folder, or a checkpoint as BasicSR writes it."""
    models = folder / "models"
    numbered = sorted(
        (
            int(match[1])
            for path in models.glob("net_g_*.pth")
            if (match := re.fullmatch(r"net_g_(\d+)", path.stem))
        ),
        reverse=True,
    )
    for label in [*LABELS, *(str(number) for number in numbered)]:
        if (models / f"net_g_{label}" / CONFIG).is_file():
            return models / f"net_g_{label}"
        if (models / f"net_g_{label}.pth").is_file():
            return models / f"net_g_{label}.pth"
    raise CheckpointError(f"'{models}' holds no net_g_best, net_g_latest or net_g_<iteration>: train first")


def _copied_option_file(folder: Path) -> Path | None:
    """The copy of the option file that a run keeps; the newest where there are several."""
    return max(
        [*folder.glob("*.yml"), *folder.glob("*.yaml")], key=lambda path: path.stat().st_mtime, default=None
    )


def _build(network: Mapping[str, Any], *, scale: int | None) -> nn.Module:
    """The network of an option file; the file's scale is the network's unless that says its own."""
    arguments = {key: value for key, value in network.items() if key != "type"}
    if "upscale" not in arguments and scale is not None:
        arguments["scale"] = scale
    return zoo.build(str(network.get("type")), **arguments)


def read_provenance(path: Path, *, license: str | None = None) -> Provenance:
    """Where weights were taken from: the file's name and hash."""
    return Provenance(source=path.name, sha256=sha256_of(path), license=license)
