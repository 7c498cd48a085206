"""Training runs (`experiments/NAME`): the weights that they produced, and their option file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hfsr import model_zoo
from hfsr.checkpoints import (
    load_checkpoint,
    load_run_checkpoint,
    load_weights,
    read_model_folder,
    read_state_dict,
)
from hfsr.errors import CheckpointError
from hfsr.registry import ARCHS

from .cards.option_file import OptionFile, read_option_file
from .download.repo_formats import CONFIG
from .download.resolve import task_in

__all__ = ["RunModel", "checkpoint_of_run", "option_file_of_run", "read_run", "task_of_run"]

LABELS = ("best", "latest")
"""Labels of a run's checkpoints, in order of preference; numbered checkpoints come after them."""


@dataclass(frozen=True)
class RunModel:
    """Model of a training run.

    Attributes:
        model: the network with its weights, in evaluation mode.
        weights: file or folder that the weights were read from.
        option_file: the run's copy; None if there is none.
    """

    model: nn.Module
    weights: Path
    option_file: OptionFile | None


def read_run(folder: Path) -> RunModel:
    """Reads a run's best weights, else the latest.

    Networks of other packages are read from their tensors, with the arguments that the option file states.

    Raises:
        CheckpointError: there are no weights, or they do not fit the network of the option file.
        MissingDependencyError: the network is not one of hfsr's, and spandrel is not installed.
    """
    weights, option_file = _best_weights(folder), option_file_of_run(folder)
    network = option_file.options.get("network_g") if option_file else None
    if weights.is_dir():
        model = read_model_folder(weights)
    elif option_file and isinstance(network, Mapping):
        model = _load_network(network, weights, scale=option_file.options.get("scale"))
    else:
        model = load_checkpoint(weights)
    return RunModel(model.eval(), weights, option_file)


def task_of_run(folder: Path) -> str | None:
    """Returns the task that a run's option file determines, else that of its model folder; else None."""
    option_file = option_file_of_run(folder)
    if option_file and option_file.task:
        return option_file.task
    weights = _best_weights(folder)
    return task_in(weights) if weights.is_dir() else None


def checkpoint_of_run(folder: Path) -> Path | None:
    """Returns the `.pth` of a run's preferred weights, which has `params` and `params_ema`, if it exists."""
    weights = _best_weights(folder)
    checkpoint = weights if weights.is_file() else weights.with_name(f"{weights.name}.pth")
    return checkpoint if checkpoint.is_file() else None


def _best_weights(folder: Path) -> Path:
    """Returns the preferred weights of a run: a model folder, or a checkpoint in BasicSR's format."""
    models = folder / "models"
    iterations = sorted(
        (
            int(match[1])
            for path in models.glob("net_g_*.pth")
            if (match := re.fullmatch(r"net_g_(\d+)", path.stem))
        ),
        reverse=True,
    )
    for label in [*LABELS, *(str(iteration) for iteration in iterations)]:
        if (models / f"net_g_{label}" / CONFIG).is_file():
            return models / f"net_g_{label}"
        if (models / f"net_g_{label}.pth").is_file():
            return models / f"net_g_{label}.pth"
    raise CheckpointError(f"'{models}' holds no net_g_best, net_g_latest or net_g_<iteration>: train first")


def option_file_of_run(folder: Path) -> OptionFile | None:
    """Returns the copy of the option file in a run's folder: the newest one, or None if there is none."""
    copies = [*folder.glob("*.yml"), *folder.glob("*.yaml")]
    newest = max(copies, key=lambda path: path.stat().st_mtime, default=None)
    return read_option_file(newest) if newest else None


def _load_network(network: Mapping[str, Any], weights: Path, *, scale: int | None) -> nn.Module:
    """Loads the network `network_g` of an option file with a run's weights."""
    arguments = {key: value for key, value in network.items() if key != "type"}
    name = str(network.get("type"))
    if name not in ARCHS:
        return load_run_checkpoint(weights, name, arguments, scale=scale)
    if "upscale" not in arguments and scale is not None:
        arguments["scale"] = scale
    model = model_zoo.build(name, **arguments)
    state_dict, _ = read_state_dict(weights)
    load_weights(model, state_dict, source=f"'{weights}'")
    return model
