"""The option file of a training: facts for the card, the degradation to measure, and a copy without paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hfsr.degradations import Seeded, build_chain, describe_degradation
from hfsr.errors import CheckpointError
from hfsr.hub.download.datasets import ADDRESS
from hfsr.hub.download.resolve import FILES, HUB_ID

from .redaction import last_part, redact_option_file, redact_path
from .schema import OPTION_FILE, TrainingInfo

__all__ = ["OptionFile", "read_option_file", "read_text", "task_of_degradation"]

DATASETS_WITH_DEGRADATION = frozenset({"PairedImageDataset", "SampleImageDataset"})
"""Types of data sets that create LQ images from ground truth."""
TASK_OF_STEP = {
    "GaussianBlur": "deblurring",
    "GaussianNoise": "denoising",
    "Jpeg": "jpeg-artifact-removal",
    "KernelBlur": "deblurring",
    "Mosaic": "demosaicing",
    "PoissonNoise": "denoising",
}
"""Step of a degradation -> task of a network of scale 1 that reverses only this step."""


@dataclass(frozen=True, kw_only=True)
class OptionFile:
    """Option file, with a text that may be published."""

    name: str
    """File name."""
    text: str
    """Text of the file without private paths, secrets, and the comments that contain any."""
    options: Mapping[str, Any]

    @property
    def scale(self) -> int:
        """Output px per LQ px."""
        scale = self.options.get("scale", 1)
        return scale if isinstance(scale, int) else 1

    @property
    def training(self) -> TrainingInfo:
        """The facts for a card that the file states."""
        data, train = self._section("datasets", "train"), self._section("train")
        roots = data.get("dataroot_gt") or []
        roots = roots if isinstance(roots, list) else [roots]
        folders = [last_part(redact_path(str(root))) for root in roots]
        total = train.get("total_iter")
        pixel, luma = (self._section("train", key).get("type") for key in ("pixel_opt", "luma_opt"))
        start = self.started_from
        return TrainingInfo(
            degradation=self._degradation(data),
            datasets=tuple(dict.fromkeys(_hub_datasets(roots))),
            started_from=redact_path(start) if start else None,
            base_model=start if start and _is_on_the_hub(start) else None,
            data=", ".join(redact_path(str(part)) for part in (data.get("name"), *folders) if part) or None,
            recipe=self.name,
            recipe_link=OPTION_FILE,
            iterations=total if isinstance(total, int) else None,
            loss=" + ".join(filter(None, (pixel, luma and f"{luma} of luma"))) or None,
        )

    @property
    def started_from(self) -> str | None:
        """The weights that the training started from, as the file names them."""
        start = self._section("path").get("pretrain_network_g")
        return start if isinstance(start, str) and start else None

    @property
    def license(self) -> str | None:
        """The license of the trained weights, if the file states one."""
        license = self._section("logger").get("license")
        return license if isinstance(license, str) and license else None

    @property
    def task(self) -> str | None:
        """Task of the trained network if its scale is 1 and the degradation determines it."""
        return task_of_degradation(self._section("datasets", "train").get("degradation"), self.scale)

    @property
    def validation_degradation(self) -> Seeded | None:
        """Degradation of the first validation set; None if its LQ images are given or there is no set."""
        sets = self._section("datasets").items()
        section = next((self._section("datasets", key) for key, _ in sets if re.match("val|test", key)), {})
        steps = section.get("degradation")
        if (
            section.get("type") not in DATASETS_WITH_DEGRADATION
            or section.get("dataroot_lq")
            or (self.scale == 1 and not steps)
        ):
            return None
        return Seeded(build_chain(steps, self.scale), int(section.get("seed", 0)))

    def _degradation(self, data: Mapping[str, Any]) -> str | None:
        """Degradation of the training images, if hfsr applies it."""
        if data.get("type") not in DATASETS_WITH_DEGRADATION or data.get("dataroot_lq"):
            return None
        if not data.get("degradation"):
            return f"MATLAB bicubic reduction by {self.scale}" if self.scale > 1 else None
        return redact_path(describe_degradation(build_chain(data["degradation"], self.scale).protocol()))

    def _section(self, *names: str) -> dict[str, Any]:
        """A nested mapping; empty if it is missing."""
        content: Any = self.options
        for name in names:
            content = content.get(name) if isinstance(content, Mapping) else None
        return dict(content) if isinstance(content, Mapping) else {}


def _is_on_the_hub(name: str) -> bool:
    """Returns True for a name that can only be an id on the Hub: owner/name, and not a local path."""
    path = Path(name)
    return (
        HUB_ID.fullmatch(name) is not None
        and path.parts[0] != "experiments"
        and path.suffix.lower() not in FILES
        and not path.exists()
    )


def _hub_datasets(roots: list[Any]) -> Iterator[str]:
    """Yields the ids of the data sets on the Hub among the folders of a training set."""
    for root in roots:
        if match := ADDRESS.fullmatch(str(root)):
            yield match["repo"]


def task_of_degradation(degradation: Any, scale: int) -> str | None:
    """Returns the task of a network that learns to reverse the `degradation` of an option file.

    Args:
        degradation: a section, a list of them, or None.
        scale: scale of the option file.

    Returns:
        None if the steps do not determine the task: the network enlarges, or LQ images are given.
    """
    types = set(_types(degradation))
    if scale != 1 or not types:
        return None
    tasks = {TASK_OF_STEP.get(name, "restoration") for name in types}
    return tasks.pop() if len(tasks) == 1 else "restoration"


def _types(degradation: Any) -> Iterator[str]:
    """Yields the types of all steps; a step with `choices` yields those of the steps in them."""
    if isinstance(degradation, Mapping):
        if "choices" in degradation:
            yield from _types(degradation["choices"])
        else:
            yield str(degradation.get("type"))
    for step in degradation if isinstance(degradation, list) else ():
        yield from _types(step)


def read_option_file(path: Path) -> OptionFile:
    """Reads an option file.

    Raises:
        CheckpointError: the file is not UTF-8 text or not YAML.
    """
    text = read_text(path)
    try:
        options = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    options = options if isinstance(options, dict) else {}
    return OptionFile(name=path.name, text=redact_option_file(_without_schema_line(text)), options=options)


def _without_schema_line(text: str) -> str:
    """Removes the line that names the schema of the option file to an editor, by a path on this machine."""
    return re.sub(r"\A# yaml-language-server:.*\n", "", text)


def read_text(path: Path) -> str:
    """Reads the text of a file.

    Raises:
        CheckpointError: the file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"'{path}' is not UTF-8 text: {error}") from error
