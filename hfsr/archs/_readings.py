"""Constructor arguments that no tensor shape shows: the evidence for them, and the possible readings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "ARGUMENT",
    "DIV2K_MEAN",
    "Evidence",
    "Reading",
    "SavedBy",
    "argument_key",
    "mean_shift_readings",
    "range_argument",
    "range_of_mean",
    "range_readings",
    "stated_arguments",
]

ARGUMENT = "argument."
"""Prefix of entries that `ArchSpec.rename` adds to a state dict: values of constructor arguments."""
RANGES = (255.0, 1.0)
"""Value ranges in which networks are trained."""
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""RGB mean of the DIV2K training images, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Information about a checkpoint beside its tensors."""

    names: tuple[str, ...] = ()
    """Names of the file and of its repository, the most specific first."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json` that another library wrote next to the file; empty if there is none."""
    prefix: str = ""
    """Beginning of the file's keys that is not the network's own, as "generator."; trainers differ in it."""
    is_config_uncertain: bool = False
    """True if the config may belong to another file of the folder, because this file's name is not the one
    that the library gives to weights."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One set of constructor arguments that the tensors of a checkpoint allow.

    Attributes:
        arguments: constructor arguments that shapes do not show.
        reason: the evidence for them, as "the file name has PIRM2018"; empty for an alternative without
            evidence, which only a check on data may choose.
        margin: a check on data prefers it to earlier readings if its error is below this share of theirs. The
            default leaves out what is equal but for rounding; readings that a chance may favor need less.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    margin: float = 0.995


@dataclass(frozen=True, kw_only=True)
class SavedBy:
    """Files that another library saves beside a `config.json` with a `model_type`.

    Attributes:
        library: name of the library.
        arguments: constructor arguments from the config that differ from those of the authors' release.
        unused: prefixes of tensors that the library's network holds and never uses.
    """

    library: str
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]]
    unused: tuple[str, ...] = ()


def argument_key(name: str) -> str:
    """Key of the entry that states constructor argument `name` in a renamed state dict."""
    return ARGUMENT + name


def stated_arguments(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments that `ArchSpec.rename` stored in a state dict as `argument_key` entries."""
    stated = {key: tensor for key, tensor in state_dict.items() if key.startswith(ARGUMENT)}
    return {key.removeprefix(ARGUMENT): tensor.tolist() for key, tensor in stated.items()}


def range_of_mean(mean: Tensor) -> float | None:
    """Range in which a mean color was subtracted, or None if it is a mean color in no known range.

    Args:
        mean: one value per channel, in the unknown range.

    Returns:
        255 or 1 for any mean color in these ranges; another range for a multiple of DIV2K's mean color.
    """
    average = mean.double().mean().item()
    found = next((limit for limit in RANGES if 0.1 < average / limit < 0.9), None)
    if found is None and mean.shape == (len(DIV2K_MEAN),):
        multiples = mean.double() / torch.tensor(DIV2K_MEAN, dtype=torch.float64)
        multiple = round(multiples.mean().item())
        if multiple > 0 and torch.allclose(multiples, torch.full_like(multiples, multiple), rtol=1e-4):
            return float(multiple)
    return found


def range_argument(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Derives `img_range` from a network's `sub_mean` layer `W x + b`, which subtracts -W^-1 b."""
    weight, bias = state_dict.get("sub_mean.weight"), state_dict.get("sub_mean.bias")
    if weight is None or bias is None or weight.is_meta or bias.shape != weight.shape[:1]:
        return {}
    matrix = weight.double().flatten(1)
    if matrix.shape[0] != matrix.shape[1] or abs(torch.linalg.det(matrix).item()) < 1e-3:
        return {}
    img_range = range_of_mean(-torch.linalg.solve(matrix, bias.double()))
    return {} if img_range is None else {"img_range": img_range}


def range_readings(default: float) -> list[Reading]:
    """Readings of a network whose only unknown argument is `img_range`; the default comes first."""
    first = Reading(arguments={"img_range": default}, reason="the range of the released weights")
    return [first, *(Reading(arguments={"img_range": other}) for other in RANGES if other != default)]


def mean_shift_readings(
    *,
    img_range: float,
    rgb_mean: Sequence[float],
    means: Iterable[Sequence[float]],
    reason: str = "as in the released weights",
) -> list[Reading]:
    """Readings of a network with `img_range` and `rgb_mean`: those given first, then every other pair.

    Args:
        img_range: the range that evidence or the released weights suggest.
        rgb_mean: the mean color that evidence or the released weights suggest.
        means: the mean colors that such networks are trained with.
        reason: the evidence for the first reading.
    """
    first = {"img_range": img_range, "rgb_mean": list(rgb_mean)}
    pairs = ({"img_range": r, "rgb_mean": list(mean)} for r, mean in itertools.product(RANGES, means))
    return [
        Reading(arguments=first, reason=reason),
        *(Reading(arguments=pair) for pair in pairs if pair != first),
    ]
