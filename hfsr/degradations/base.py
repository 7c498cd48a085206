"""How a good image becomes a bad one, step by step, as the `degradation` of an option file has it."""

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
    "Seeded",
    "Step",
    "Words",
    "build_chain",
    "build_steps",
    "drawn",
    "interval",
    "seed_of",
    "told",
]

Interval = float | list[float]
"""A number, or the lowest and the highest between which one is drawn, all equally likely."""
Words = dict[str, str | int | float]
"""What a reader needs to repeat a degradation."""


class Step(ABC):
    """One operation on pixels: RGB uint8 (H, W, 3) or gray (H, W); some take or give float32 in [0, 1]."""

    scale: int = 1
    """Px of its input, along a side, for one px of what it gives."""
    reach: int = 0
    """How many px beyond a px it looks; those are cut along with a patch."""
    beforehand: bool = False
    """It draws nothing, and may be done to whole images before patches are cut from them and turned."""
    period: int = 1
    """What it does to a px depends on the px's coordinates modulo this."""

    @abstractmethod
    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        """Degrades an image; all that is random is drawn from `rng`."""

    @abstractmethod
    def protocol(self) -> Words:
        """What it does, for the statement that goes with every number."""


class Chain(Step):
    """Steps, one after the other; without any, the image stays as it is."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        self.scale = math.prod(step.scale for step in steps)
        self.beforehand = all(step.beforehand for step in steps)
        reach, before = 0, 1
        for step in steps:
            reach, before = reach + step.reach * before, before * step.scale
        self.reach = reach
        # Evaluation also reduces by real scales (Meta-SR); only whole images are reduced by those.
        whole = math.ceil(self.scale)
        self.grid = math.lcm(whole, *(step.period for step in steps)) if steps else 1
        """Regions that begin and end on multiples of this are degraded as they are within the image."""

    def __call__(self, pixels: NDArray, rng: np.random.Generator) -> NDArray:
        for step in self.steps:
            pixels = step(pixels, rng)
        return pixels

    def protocol(self) -> Words:
        return {word: value for step in self.steps for word, value in step.protocol().items()}

    def split(self) -> tuple[Chain, Chain]:
        """What can be done beforehand, and what is left to do with each patch."""
        count = next((k for k, step in enumerate(self.steps) if not step.beforehand), len(self.steps))
        return Chain(self.steps[:count]), Chain(self.steps[count:])


class Seeded:
    """A degradation as evaluation calls it: the same name always gives the same image."""

    def __init__(self, step: Step, seed: int = 0) -> None:
        self.step, self.seed = step, seed

    def __call__(self, gt: NDArray, name: str) -> NDArray:
        return self.step(gt, np.random.default_rng(seed_of(name, self.seed)))

    def protocol(self) -> Words:
        words = self.step.protocol()
        return words if self.step.beforehand else {**words, "seed": self.seed}


def build_chain(sections: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, scale: int) -> Chain:
    """The steps of an option file's `degradation`: one section with a `type`, or a list of them.

    Args:
        sections: None and an empty list do what is always done without the word: MATLAB bicubic.
        scale: of the option file; a step that reduces and names no scale of its own reduces by this.

    Raises:
        OptionsError: an unknown step or word, or steps that reduce by another scale.
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
    """The steps of sections with a `type`; those that reduce and name no scale reduce by `scale`.

    Raises:
        OptionsError: an unknown step or argument.
    """
    return [_build(section, scale) for section in sections]


def _build(section: Mapping[str, Any], scale: int) -> Step:
    words = dict(section)
    factory = DEGRADATIONS[str(words.pop("type", None))]
    if "scale" in inspect.signature(factory).parameters:
        words.setdefault("scale", scale)
    try:
        step: Step = factory(**words)
    except TypeError as error:
        raise OptionsError(f"degradation {section['type']}: {error}") from error
    return step


def interval(
    value: Interval | Sequence[float], lowest: float, highest: float, what: str, unit: str = ""
) -> tuple[float, float]:
    """Both ends of an interval; a number is both.

    Raises:
        OptionsError: outside of [lowest, highest], or not in order.
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
    """A number of the interval; nothing is drawn where there is only one."""
    return ends[0] if ends[0] == ends[1] else float(rng.uniform(*ends))


def told(ends: tuple[float, float]) -> str | int | float:
    """An interval in a statement."""
    low, high = ends
    if low < high:
        return f"{low:g} to {high:g}"
    return int(low) if low.is_integer() else low


def seed_of(name: str, seed: int) -> int:
    """One image's seed, from its name and the seed of the set: the order of a set does not matter."""
    return zlib.crc32(name.encode(), seed & 0xFFFFFFFF)
