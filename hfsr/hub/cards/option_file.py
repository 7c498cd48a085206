"""The option file of a training, as publishing reads it: for the card, for measuring, and to go along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hfsr.degradations import Seeded, build_chain, in_words
from hfsr.errors import CheckpointError

from .schema import OPTION_FILE, Training

__all__ = ["OptionFile", "read_option_file", "read_text", "task_of_degradation"]

OURS = frozenset({"PairedImageDataset", "SampleImageDataset"})
"""Types of data sets whose LQ pictures hfsr makes."""
UNDOES = {
    "GaussianBlur": "deblurring",
    "GaussianNoise": "denoising",
    "Jpeg": "jpeg-artefact-removal",
    "KernelBlur": "deblurring",
    "Mosaic": "demosaicing",
    "PoissonNoise": "denoising",
}
"""Step of a degradation -> the task of a network of scale 1 that undoes nothing else."""
ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?[\\/].*[^\\/]|~.*[\\/].*[^\\/]", re.DOTALL)
"""A place on somebody's machine."""


@dataclass(frozen=True, kw_only=True)
class OptionFile:
    """What an option file says."""

    name: str
    """Of the file."""
    text: str
    """As it may be seen by everybody: places on a machine by their last names only."""
    options: Mapping[str, Any]

    @property
    def scale(self) -> int:
        """px of the result per px of LQ."""
        scale = self.options.get("scale", 1)
        return scale if isinstance(scale, int) else 1

    @property
    def training(self) -> Training:
        """What it tells a card."""
        data, train = self._section("datasets", "train"), self._section("train")
        roots = data.get("dataroot_gt") or []
        folders = [_last(str(root)) for root in (roots if isinstance(roots, list) else [roots])]
        total = train.get("total_iter")
        pixel, luma = (self._section("train", word).get("type") for word in ("pixel_opt", "luma_opt"))
        return Training(
            degradation=self._degradation(data),
            data=", ".join(str(part) for part in (data.get("name"), *folders) if part) or None,
            recipe=self.name,
            recipe_link=OPTION_FILE,
            iterations=total if isinstance(total, int) else None,
            loss=" + ".join(filter(None, (pixel, luma and f"{luma} of luma"))) or None,
        )

    @property
    def task(self) -> str | None:
        """What it trains a network of scale 1 for; None where it does not tell."""
        return task_of_degradation(self._section("datasets", "train").get("degradation"), self.scale)

    @property
    def validation_degradation(self) -> Seeded | None:
        """How its first validation set is made worse; None where LQ pictures are given or none are named."""
        sets = self._section("datasets").items()
        section = next((self._section("datasets", key) for key, _ in sets if re.match("val|test", key)), {})
        told = section.get("degradation")
        if section.get("type") not in OURS or section.get("dataroot_lq") or (self.scale == 1 and not told):
            return None
        return Seeded(build_chain(told, self.scale), int(section.get("seed", 0)))

    def _degradation(self, data: Mapping[str, Any]) -> str | None:
        """What made the LQ pictures that it trains on, where hfsr made them."""
        if data.get("type") not in OURS or data.get("dataroot_lq"):
            return None
        if not data.get("degradation"):
            return f"MATLAB bicubic reduction by {self.scale}" if self.scale > 1 else None
        return in_words(build_chain(data["degradation"], self.scale).protocol())

    def _section(self, *names: str) -> dict[str, Any]:
        """A mapping inside a mapping, empty where it is missing."""
        content: Any = self.options
        for name in names:
            content = content.get(name) if isinstance(content, Mapping) else None
        return dict(content) if isinstance(content, Mapping) else {}


def task_of_degradation(degradation: Any, scale: int) -> str | None:
    """What a network is for that learns to undo the steps of an option file's `degradation`.

    Args:
        degradation: a section, a list of them, or None.
        scale: of the option file.

    Returns:
        None where the steps do not tell: a network that enlarges, or LQ pictures that are given.
    """
    steps = [degradation] if isinstance(degradation, Mapping) else degradation
    if scale != 1 or not steps:
        return None
    tasks = {UNDOES.get(str(step.get("type")), "restoration") for step in steps}
    return tasks.pop() if len(tasks) == 1 else "restoration"


def read_option_file(path: Path) -> OptionFile:
    """Reads an option file.

    Raises:
        CheckpointError: it is no UTF-8 text or no YAML.
    """
    text = read_text(path)
    try:
        options = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    options = options if isinstance(options, dict) else {}
    return OptionFile(name=path.name, text=_without_private_paths(text, options), options=options)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        CheckpointError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"'{path}' is not UTF-8 text: {error}") from error


def _without_private_paths(text: str, options: dict[str, Any]) -> str:
    """The file without what is nobody's business or leads nowhere elsewhere; its comments stay."""
    text = re.sub(r"\A# yaml-language-server:.*\n", "", text)
    for place in sorted({place for place in _strings(options) if ABSOLUTE.fullmatch(place)}, key=len)[::-1]:
        text = text.replace(place, _last(place))
    left = [place for place in _strings(yaml.safe_load(text)) if ABSOLUTE.fullmatch(place)]
    return yaml.safe_dump(_shortened(options), sort_keys=False, allow_unicode=True) if left else text


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, (Mapping, list)):
        for inner in content.values() if isinstance(content, Mapping) else content:
            yield from _strings(inner)


def _shortened(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _shortened(inner) for key, inner in content.items()}
    if isinstance(content, list):
        return [_shortened(inner) for inner in content]
    return _last(content) if isinstance(content, str) and ABSOLUTE.fullmatch(content) else content


def _last(place: str) -> str:
    """The last name of a path, whatever system it is from."""
    return re.split(r"[\\/]", place.rstrip("\\/"))[-1]
