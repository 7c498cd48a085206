"""The degradation that a model is measured on, as command-line options or a card's protocol describe it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from hfsr.degradations import Bicubic, Chain, GaussianNoise, Jpeg, Mosaic, Seeded, Step, build_chain
from hfsr.errors import OptionsError

__all__ = ["TASKS", "DegradationSpec", "task_key"]

TASKS = {
    "sr": "super-resolution",
    "denoise": "denoising",
    "jpeg": "jpeg-artifact-removal",
    "demosaic": "demosaicing",
}
"""Key of a task on the command line -> the task in a model's config."""
DEFAULT_SIGMA, DEFAULT_QUALITY = 25.0, 40


@dataclass(frozen=True, kw_only=True)
class DegradationSpec:
    """Description of the degradation of ground truth to LQ images; every field may be left unset.

    Attributes:
        task: a key of `TASKS`.
        sigma: noise levels for "denoise", in gray levels of 8 bit; one measurement each.
        unclipped: the noisy image is neither clamped nor rounded.
        quality: JPEG qualities for "jpeg", and for "sr" if the reduced images are compressed; one measurement
            each.
        pattern: Bayer pattern for "demosaic".
        seed: seed of the noise.
        steps: a degradation as option files describe it (YAML), instead of `task`.
    """

    task: str | None = None
    sigma: tuple[float, ...] = ()
    unclipped: bool = False
    quality: tuple[int, ...] = ()
    pattern: str = "RGGB"
    seed: int = 0
    steps: str | None = None

    @property
    def stated_task(self) -> str | None:
        """The task, which a strength alone states too; None if it depends on the model.

        A quality alone states "jpeg", which `build` takes as "sr" for a model that upscales.
        """
        if self.task is None and self.sigma:
            return "denoise"
        if self.task is None and self.quality:
            return "jpeg"
        return self.task

    @property
    def is_stated(self) -> bool:
        """True if a task, a strength or the steps are given."""
        return bool(self.stated_task or self.steps)

    def build(self, task: str, scale: float) -> list[Seeded]:
        """Builds the degradations, one for each strength.

        Args:
            task: a key of `TASKS`, from `task_key` or `stated_task`.
            scale: scale of the model.

        Raises:
            OptionsError: the task needs a model of scale 1 and this one upscales, or a value is out of range.
        """
        if self.steps:
            return [Seeded(_build_steps(self.steps, scale), self.seed)]
        if task == "jpeg" and self.task is None and scale != 1:
            task = "sr"  # only a quality, and a model that upscales: the images are reduced, then compressed
        if task != "sr" and scale != 1:
            raise OptionsError(
                f"--task {task} is for models of scale 1, this one enlarges x{scale:g}; leave --task out"
            )
        steps: list[Step] = [Bicubic(scale=scale)]
        if task == "sr" and self.quality:
            steps = [Chain([Bicubic(scale=scale), Jpeg(quality=quality)]) for quality in self.quality]
        elif task == "denoise":
            clip = not self.unclipped
            steps = [GaussianNoise(sigma=sigma, clip=clip) for sigma in self.sigma or (DEFAULT_SIGMA,)]
        elif task == "jpeg":
            steps = [Jpeg(quality=quality) for quality in self.quality or (DEFAULT_QUALITY,)]
        elif task == "demosaic":
            steps = [Mosaic(pattern=self.pattern)]  # type: ignore[arg-type]  # it checks the name
        return [Seeded(step, self.seed) for step in steps]

    def build_for_model(self, *, scale: float, model_task: Callable[[], str], name: str) -> Seeded:
        """Builds the first degradation; fields that are left unset follow from the model.

        Args:
            scale: scale of the model.
            model_task: returns the task in the model's config; called only if nothing else states the task.
            name: name of the model, for errors.

        Raises:
            OptionsError: the model's task has no degradation here, or as `build`.
        """
        task = self.stated_task or ("sr" if scale != 1 or self.steps else model_task())
        return self.build(task_key(task, name=name), scale)[0]

    def with_protocol(self, protocol: Mapping[str, Any]) -> DegradationSpec:
        """Replaces what the protocol of a measurement states: task, strength, pattern, seed.

        A protocol whose degradation no option describes changes only the seed.
        """
        stated: dict[str, Any] = {"seed": protocol["seed"]} if "seed" in protocol else {}
        noise, sigma = str(protocol.get("noise", "")), protocol.get("sigma")
        quality = (protocol["quality"],) if "quality" in protocol else ()
        if noise.startswith("Gaussian") and isinstance(sigma, (int, float)):
            stated |= {"task": "denoise", "sigma": (sigma,), "unclipped": "neither" in noise}
        elif str(protocol.get("resize", "")).startswith("MATLAB bicubic") and _says_quality(protocol):
            stated |= {"task": "sr", "quality": quality}
        elif quality and _says_quality(protocol):
            stated |= {"task": "jpeg", "quality": quality}
        elif pattern := re.match(r"Bayer (\w+)", str(protocol.get("mosaic", ""))):
            stated |= {"task": "demosaic", "pattern": pattern[1]}
        return dataclasses.replace(self, **stated)


def _says_quality(protocol: Mapping[str, Any]) -> bool:
    """True if `quality` alone describes the compression of a protocol, or nothing was compressed."""
    if "quality" not in protocol:
        return "jpeg" not in protocol
    return isinstance(protocol["quality"], (int, float)) and protocol.get("jpeg") == "libjpeg, 4:2:0"


def task_key(task: str, *, name: str) -> str:
    """Returns the command-line key of a task, which may be given as such a key already.

    Args:
        task: task in a model's config, or a key of `TASKS`.
        name: name of the model, for the error.

    Raises:
        OptionsError: no degradation is known for this task.
    """
    keys = {config_task: key for key, config_task in TASKS.items()}
    if task in TASKS or task in keys:
        return keys.get(task, task)
    raise OptionsError(
        f"'{name}' is for {task}, for which no degradation is known; give the LQ images with --lq, or "
        "pass --sigma N (noise), --quality N (JPEG), --task demosaic or --degradation"
    )


def _build_steps(text: str, scale: float) -> Step:
    """Builds the steps that a command line gives in the YAML of option files."""
    if scale != int(scale):
        raise OptionsError(f"--degradation needs a whole scale, not {scale:g}")
    try:
        sections = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionsError(f"--degradation is not YAML: {error}") from error
    listed = sections if isinstance(sections, list) else [sections]
    if not listed or not all(isinstance(section, dict) for section in listed):
        raise OptionsError(
            f"--degradation {text!r} is not a step; write for example '{{type: Jpeg, quality: 40}}'"
        )
    return build_chain(listed, int(scale))
