"""Published schedules of a generative fit: iterations, trained layers, learning rates and loss weights.

Pan et al., "Exploiting Deep Generative Prior for Versatile Image Restoration and Manipulation", ECCV 2020,
arXiv 2003.13659, and the settings of its reference code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfsr.errors import OptionsError

__all__ = ["BIASES", "PRESETS", "TASKS", "FitSchedule", "find_schedule"]

TASKS = ("sr", "colorize", "inpaint", "jitter", "morph")
BIASES = ("d", "mse")


@dataclass(frozen=True, kw_only=True)
class FitSchedule:
    """Stages of a fit, from coarse to fine; every tuple has one value per stage.

    Attributes:
        iterations: optimizer steps of each stage.
        depth: number of weight groups that are trained: the first linear layer is one, each block another. A
            number larger than that of the groups means all.
        lr_g, lr_z: learning rates of the generator's weights and of the latent vector.
        lr_ratio: ratio of the learning rates of successive groups.
        weight_d: loss weight of the discriminator features.
        weight_mse: loss weight of the mean squared error, for images in [-1, 1].
        weight_nll: loss weight of half the mean square of the latent vector.
        features: number of discriminator features that are compared, counted from the last.
        z_std: standard deviation of the latent vectors at the random starts.
        instance_norm: True replaces the generator's conditional norms by frozen instance norms.
        optimize_class: True optimizes the class embedding with the first group.

    Raises:
        OptionsError: the tuples differ in length.
    """

    iterations: tuple[int, ...]
    depth: tuple[int, ...]
    lr_g: tuple[float, ...]
    lr_z: tuple[float, ...]
    weight_d: tuple[float, ...]
    weight_mse: tuple[float, ...]
    lr_ratio: tuple[float, ...] = ()
    weight_nll: float = 0.02
    features: int = 8
    z_std: float = 0.3
    instance_norm: bool = False
    optimize_class: bool = False

    def __post_init__(self) -> None:
        if not self.lr_ratio:
            object.__setattr__(self, "lr_ratio", (1.0,) * len(self.iterations))
        lengths = {name: len(value) for name in _PER_STAGE if (value := getattr(self, name)) is not None}
        if len(set(lengths.values())) != 1 or not self.iterations:
            raise OptionsError(f"the stages of a schedule do not agree: {lengths}; give one value per stage")

    @property
    def num_stages(self) -> int:
        """Number of stages."""
        return len(self.iterations)


_PER_STAGE = ("iterations", "depth", "lr_g", "lr_z", "weight_d", "weight_mse", "lr_ratio")
_D_BIASED: Mapping[str, Any] = {
    "iterations": (200,) * 5,
    "depth": (2, 3, 4, 5, 6),
    "lr_g": (5e-5, 5e-5, 2e-5, 1e-5, 1e-5),
    "lr_z": (2e-3, 1e-3, 2e-5, 1e-5, 1e-5),
    "weight_d": (1, 1, 1, 1, 1),
    "weight_mse": (1, 1, 1, 1, 1),
}
_MSE_BIASED: Mapping[str, Any] = {
    **_D_BIASED,
    "lr_g": (2e-4, 2e-4, 1e-4, 1e-4, 1e-5),
    "lr_z": (1e-3, 1e-3, 1e-4, 1e-4, 1e-5),
    "weight_d": (1, 1, 1, 0.5, 0.1),
    "weight_mse": (10, 10, 10, 50, 100),
    "instance_norm": True,
}
_COLORIZE: Mapping[str, Any] = {
    "iterations": (200, 200, 300, 400, 300),
    "depth": (2, 3, 4, 5, 6),
    "lr_g": (5e-5, 5e-5, 5e-5, 5e-5, 2e-5),
    "lr_z": (2e-3, 1e-3, 5e-4, 5e-5, 2e-5),
    "weight_d": (1, 1, 1, 1, 1),
    "weight_mse": (0, 0, 0, 0, 0),
    "lr_ratio": (0.7, 0.7, 0.8, 0.9, 1.0),
    "features": 7,
    "z_std": 0.5,
}
_JITTER: Mapping[str, Any] = {
    "iterations": (125, 125, 100),
    "depth": (8, 8, 8),
    "lr_g": (2e-7, 2e-5, 2e-6),
    "lr_z": (1e-1, 1e-2, 2e-4),
    "weight_d": (1, 1, 1),
    "weight_mse": (0, 0, 0),
    "weight_nll": 0.2,
    "z_std": 0.5,
}
_AT_256: Mapping[str, Any] = {"depth": (2, 3, 4, 5, 7)}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sr_128_d": _D_BIASED,
    "sr_128_mse": _MSE_BIASED,
    "sr_256_d": {**_D_BIASED, **_AT_256},
    "sr_256_mse": {**_MSE_BIASED, **_AT_256},
    "colorize_128": _COLORIZE,
    "colorize_256": {**_COLORIZE, **_AT_256},
    "inpaint_128": {
        **_MSE_BIASED,
        "depth": (6,) * 5,
        "weight_d": (1, 1, 1, 0.1, 0.1),
        "weight_mse": (10, 10, 10, 100, 100),
        "optimize_class": True,
    },
    "inpaint_256": {
        **_D_BIASED,
        "depth": (7,) * 5,
        "lr_g": (5e-5, 5e-5, 2e-5, 2e-5, 1e-5),
        "lr_z": (2e-3, 1e-3, 2e-5, 2e-5, 1e-5),
        "weight_d": (1, 1, 1, 1, 0.5),
        "weight_mse": (1, 1, 1, 1, 10),
        "optimize_class": True,
    },
    "jitter_128": _JITTER,
    "jitter_256": _JITTER,
    "morph_128": _JITTER,
    "morph_256": _JITTER,
}
"""Schedules by task, resolution in px and, for sr, the loss that dominates: d (discriminator) or mse."""


def find_schedule(
    task: str, resolution: int, *, bias: str = "d", iterations: int | None = None
) -> FitSchedule:
    """Returns the published schedule of a task.

    Args:
        task: sr, colorize, inpaint, jitter or morph.
        resolution: resolution of the network, 128 or 256 px.
        bias: for sr: "d" is sharper, "mse" closer to the input.
        iterations: iterations of every stage, instead of the published ones.

    Raises:
        OptionsError: there is no such schedule, or `iterations` is less than 1.
    """
    if task not in TASKS or bias not in BIASES:
        raise OptionsError(
            f"there is no schedule for {task}, {bias}; tasks are {', '.join(TASKS)}; biases are "
            f"{' and '.join(BIASES)}"
        )
    if iterations is not None and iterations < 1:
        raise OptionsError(f"{iterations} iterations per stage are not possible; use 1 or more")
    name = f"{task}_{resolution}_{bias}" if task == "sr" else f"{task}_{resolution}"
    arguments = dict(PRESETS[name])
    if iterations is not None:
        arguments["iterations"] = (iterations,) * len(arguments["iterations"])
    return FitSchedule(**arguments)
