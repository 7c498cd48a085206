"""Degradation that a fine-tuning makes its LQ images by, if they are not given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from torch import nn

from hfsr.errors import OptionsError
from hfsr.hub.cards.option_file import DATASETS_WITH_DEGRADATION, OptionFile
from hfsr.hub.download.resolve import task_of
from hfsr.hub.model_origin import option_file_of

__all__ = ["PhotoDegradation", "choose_degradation"]

Steps = Any
"""A section with a `type`, or a list of them, as in option files; None for MATLAB's bicubic reduction."""

_OF_TASK: Mapping[str, tuple[Steps, Steps]] = {
    "denoising": ({"type": "GaussianNoise", "sigma": [0, 50]}, {"type": "GaussianNoise", "sigma": 25}),
    "jpeg-artifact-removal": ({"type": "Jpeg", "quality": [10, 90]}, {"type": "Jpeg", "quality": 40}),
    "demosaicing": ({"type": "Mosaic"}, {"type": "Mosaic"}),
}
"""Task of a network of scale 1 -> degradation of the training and of the validation."""


@dataclass(frozen=True)
class PhotoDegradation:
    """Degradations as option files write them.

    Attributes:
        train: steps for the training.
        validation: steps for the photos that are held out; random values depend on the photo's name alone.
        source: origin of these steps, for the option file's header.
    """

    train: Steps
    validation: Steps
    source: str


def choose_degradation(name: str, network: nn.Module, stated: str | None) -> PhotoDegradation:
    """Chooses the degradation that a model was trained to undo.

    Args:
        name: name of the model.
        network: the model.
        stated: steps in YAML, used instead.

    Returns:
        The stated steps; else those of the option file that the model was trained by; else those of its task.

    Raises:
        OptionsError: nothing states the degradation, or the stated one is not YAML.
    """
    scale = getattr(network, "scale", 1)
    if stated is not None:
        try:
            steps = yaml.safe_load(stated)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise OptionsError(f"--degradation is not YAML: {reason}") from error
        return PhotoDegradation(steps, steps, "as stated")
    option_file = option_file_of(name)
    if option_file is not None and option_file.scale == scale:
        found = _of_option_file(option_file)
        if found is not None:
            return found
    if scale > 1:
        return PhotoDegradation(None, None, f"MATLAB bicubic reduction by {scale}")
    task = task_of(name, network)
    if task not in _OF_TASK:
        raise OptionsError(
            f"'{name}' is for {task}, and nothing states which degradation it undoes; give the LQ images "
            "with --lq DIR, or steps with --degradation"
        )
    return PhotoDegradation(*_OF_TASK[task], f"of the task of '{name}', {task}")


def _of_option_file(file: OptionFile) -> PhotoDegradation | None:
    """Returns the degradation of an option file; None if its LQ images were given."""
    sets = file.options.get("datasets")
    sections = {key: value for key, value in sets.items() if isinstance(value, Mapping)} if sets else {}
    made = {
        str(key).split("_")[0]: section
        for key, section in reversed(sections.items())
        if section.get("type") in DATASETS_WITH_DEGRADATION and not section.get("dataroot_lq")
    }
    if "train" not in made:
        return None
    train = made["train"].get("degradation")
    if train is None and file.scale == 1:
        return None
    validation = made["val"].get("degradation") if "val" in made else train
    return PhotoDegradation(train, validation, f"of '{file.name}', by which the model was trained")
