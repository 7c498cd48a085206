"""How long, how deep and by what measure a generator is fitted: the published schedules.

Pan et al., "Exploiting Deep Generative Prior for Versatile Image Restoration and Manipulation", ECCV 2020,
arXiv 2003.13659, and the settings of its reference code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfsr.errors import OptionsError

__all__ = ["BIASES", "PRESETS", "TASKS", "Schedule", "find_schedule"]

TASKS = ("sr", "colorize", "inpaint", "jitter", "morph")
BIASES = ("d", "mse")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The stages of a fit, from coarse to fine; every tuple has one value per stage.

    Attributes:
        iterations: steps of each stage.
        depth: how many groups of the generator's weights move: the first linear layer is one, each block
            another. Larger numbers than there are groups mean all.
        lr_g, lr_z: learning rates of weights and of latent numbers.
        lr_ratio: each group's rate is the one before it times this.
        weight_d: of the discriminator's features in the loss.
        weight_mse: of the mean squared difference, pictures in [-1, 1].
        weight_nll: of the latent numbers' mean square, halved.
        features: how many of the discriminator's features count, from the last backwards.
        z_std: standard deviation of the latent numbers tried at first.
        instance_norm: whether the generator's conditional norms become frozen instance norms.
        moves_class: whether the class's embedding moves with the first group.

    Raises:
        OptionsError: tuples of different lengths.
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
    moves_class: bool = False

    def __post_init__(self) -> None:
        if not self.lr_ratio:
            object.__setattr__(self, "lr_ratio", (1.0,) * len(self.iterations))
        lengths = {name: len(value) for name in _STAGED if (value := getattr(self, name)) is not None}
        if len(set(lengths.values())) != 1 or not self.iterations:
            raise OptionsError(f"a schedule's stages do not agree: {lengths}; give one value per stage")

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self.iterations)


_STAGED = ("iterations", "depth", "lr_g", "lr_z", "weight_d", "weight_mse", "lr_ratio")
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
        "moves_class": True,
    },
    "inpaint_256": {
        **_D_BIASED,
        "depth": (7,) * 5,
        "lr_g": (5e-5, 5e-5, 2e-5, 2e-5, 1e-5),
        "lr_z": (2e-3, 1e-3, 2e-5, 2e-5, 1e-5),
        "weight_d": (1, 1, 1, 1, 0.5),
        "weight_mse": (1, 1, 1, 1, 10),
        "moves_class": True,
    },
    "jitter_128": _JITTER,
    "jitter_256": _JITTER,
    "morph_128": _JITTER,
    "morph_256": _JITTER,
}
"""By task, side in px and, where there are two, what it leans to: d(iscriminator) or mse."""


def find_schedule(task: str, resolution: int, *, bias: str = "d", iterations: int | None = None) -> Schedule:
    """The published schedule of a task.

    Args:
        task: sr, colorize, inpaint, jitter or morph.
        resolution: the network's side, 128 or 256 px.
        bias: of sr: "d" is sharper, "mse" closer to the picture.
        iterations: of every stage instead of the published ones.

    Raises:
        OptionsError: there is none.
    """
    if task not in TASKS or bias not in BIASES:
        raise OptionsError(
            f"there is no schedule of {task}, {bias}; tasks are {', '.join(TASKS)}; biases are "
            f"{' and '.join(BIASES)}"
        )
    if iterations is not None and iterations < 1:
        raise OptionsError(f"{iterations} iterations a stage are not possible; use 1 or more")
    name = f"{task}_{resolution}_{bias}" if task == "sr" else f"{task}_{resolution}"
    words = dict(PRESETS[name])
    if iterations is not None:
        words["iterations"] = (iterations,) * len(words["iterations"])
    return Schedule(**words)
