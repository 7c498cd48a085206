"""Base class of degradation steps, and chains of steps as the `degradation` of an option file lists them."""

from __future__ import annotations

import inspect
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hfsr.errors import OptionsError
from hfsr.registry import DEGRADATIONS

__all__ = [
    "Chain",
    "Interval",
    "ProtocolEntries",
    "Seeded",
    "Step",
    "build_chain",
    "build_steps",
    "drawn",
    "interval",
    "protocol_value",
    "seed_of",
]

Interval = float | list[float]
"""A number, or the lowest and the highest value of a uniform distribution."""
ProtocolEntries = dict[str, str | int | float]
"""Entries of the measurement protocol that a reader needs to repeat a degradation."""


class Step(ABC):
    """One operation on pixels: RGB uint8 (H, W, 3) or gray (H, W); some use float32 in [0, 1]."""

    scale: int = 1
    """Input px per output px along one side."""
    reach: int = 0
    """Px beyond a px on which its result depends; patches are cut with this margin."""
    beforehand: bool = False
    """True if the step is deterministic and can be applied to whole images before cropping and
    augmentation."""
    period: int = 1
    """Period, in px, of the step's dependence on pixel coordinates."""

    @abstractmethod
    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        """Degrades an image; all random numbers come from `rng`."""

    @abstractmethod
    def protocol(self) -> ProtocolEntries:
        """Returns the description of the step for the measurement protocol."""


class Chain(Step):
    """A sequence of steps; an empty chain returns the image unchanged."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        self.scale = math.prod(step.scale for step in steps)
        self.beforehand = all(step.beforehand for step in steps)
        reach, before = 0, 1
        for step in steps:
            reach, before = reach + step.reach * before, before * step.scale
        self.reach = reach
        # Evaluation also reduces by real scales (Meta-SR), but only whole images.
        whole = math.ceil(self.scale)
        self.grid = math.lcm(whole, *(step.period for step in steps)) if steps else 1
        """Regions that start and end on multiples of this are degraded exactly as inside the whole image."""

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        for step in self.steps:
            pixels = step(pixels, rng)
        return pixels

    def protocol(self) -> ProtocolEntries:
        return {key: value for step in self.steps for key, value in step.protocol().items()}

    def split(self) -> tuple[Chain, Chain]:
        """Splits into the steps that can run beforehand and those that must run on each patch."""
        count = next((k for k, step in enumerate(self.steps) if not step.beforehand), len(self.steps))
        return Chain(self.steps[:count]), Chain(self.steps[count:])


class Seeded:
    """A degradation for evaluation, seeded by the image's name: the same name gives the same image."""

    def __init__(self, step: Step, seed: int = 0) -> None:
        self.step, self.seed = step, seed

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        return self.step(gt, np.random.default_rng(seed_of(name, self.seed)))

    def protocol(self) -> ProtocolEntries:
        """Returns the description of the step, with the seed if the step is random."""
        protocol = self.step.protocol()
        return protocol if self.step.beforehand else {**protocol, "seed": self.seed}


def build_chain(sections: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, scale: int) -> Chain:
    """Builds the steps of an option file's `degradation`: one section with a `type`, or a list of them.

    Args:
        sections: None and an empty list mean the default, MATLAB bicubic.
        scale: scale of the option file; the default for reducing steps without a scale of their own.

    Raises:
        OptionsError: If a step or key is unknown, or the steps reduce by another scale.
    """
    listed = [sections] if isinstance(sections, Mapping) else list(sections or ())
    if not listed and scale > 1:
        listed = [{"type": "Bicubic"}]
    chain = Chain(build_steps(listed, scale))
    if chain.scale != scale:
        raise OptionsError(
            f"degradation: its steps reduce by {chain.scale}, but the file's scale is {scale}; "
            "add or remove a step as {type: Bicubic}"
        )
    return chain


def build_steps(sections: Sequence[Mapping[str, Any]], scale: int) -> list[Step]:
    """Builds the steps of sections with a `type`; reducing steps without a scale reduce by `scale`.

    Raises:
        OptionsError: If a step or argument is unknown.
    """
    return [_build(section, scale) for section in sections]


def _build(section: Mapping[str, Any], scale: int) -> Step:
    arguments = dict(section)
    factory = DEGRADATIONS[str(arguments.pop("type", None))]
    if "scale" in inspect.signature(factory).parameters:
        arguments.setdefault("scale", scale)
    try:
        step: Step = factory(**arguments)
    except TypeError as error:
        raise OptionsError(f"degradation {section['type']}: {error}") from error
    return step


def interval(
    value: Interval | Sequence[float], lowest: float, highest: float, what: str, unit: str = ""
) -> tuple[float, float]:
    """Returns both ends of an interval; a number is both.

    Raises:
        OptionsError: If the interval is not within [lowest, highest], or not in order.
    """
    ends = list(value) if isinstance(value, Sequence) else [value, value]
    if len(ends) != 2 or not lowest <= ends[0] <= ends[1] <= highest:
        shown = f"{value:g}" if isinstance(value, int | float) else str(value)
        unit = f" {unit}" if unit else ""
        raise OptionsError(
            f"{what} {shown} is out of range; choose {lowest:g} to {highest:g}{unit}, or two such numbers"
        )
    return float(ends[0]), float(ends[1])


def drawn(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """Draws a number from the interval; consumes no random number if both ends are equal."""
    return ends[0] if ends[0] == ends[1] else float(rng.uniform(*ends))


def protocol_value(ends: tuple[float, float]) -> str | int | float:
    """Formats an interval for a protocol."""
    low, high = ends
    if low < high:
        return f"{low:g} to {high:g}"
    return int(low) if low.is_integer() else low


def seed_of(name: str, seed: int) -> int:
    """Returns an image's seed from its name and the seed of the set, so that the order does not matter."""
    return zlib.crc32(name.encode(), seed & 0xFFFFFFFF)
