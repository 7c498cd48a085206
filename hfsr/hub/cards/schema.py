"""Content of a model card beyond the network: training, provenance, example, and files in its folder."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CURVE",
    "EXAMPLE",
    "OPTION_FILE",
    "TASKS",
    "Example",
    "Provenance",
    "TrainingInfo",
    "current_task",
]

CURVE = "training_curve.png"
"""File in the folder of a card: the training curve."""
EXAMPLE = "example.webp"
"""File in the folder of a card: the example image."""
OPTION_FILE = "recipe.yml"
"""File in the folder of a card: the option file of the training."""
TASKS = {
    "super-resolution": "enlarges images {scale} times in width and height",
    "restoration": "restores images and keeps their size",
    "denoising": "removes noise from images",
    "deblurring": "sharpens blurred images",
    "demosaicing": "makes images from the single color that a sensor measured at each px",
    "enhancement": "corrects the light and the colors of images",
    "jpeg-artifact-removal": "removes the artifacts of JPEG from images",
}
"""Task in `config.json` -> effect of the weights, for the first sentence of the card."""
RENAMED_TASKS = {"jpeg-artefact-removal": "jpeg-artifact-removal"}
"""Task as hfsr 0.1 spells it -> current name."""


def current_task(task: str) -> str:
    """Returns the current name of a task that may be spelled as in hfsr 0.1."""
    return RENAMED_TASKS.get(task, task)


@dataclass(frozen=True, kw_only=True)
class TrainingInfo:
    """Known facts about the training of the weights; the card shows each value unchanged."""

    degradation: str | None = None
    """Degradation that the network learned to reverse, as "MATLAB bicubic reduction by 2"."""
    data: str | None = None
    """The images, as "DIV2K, 800 images"."""
    data_license: str | None = None
    datasets: tuple[str, ...] = ()
    """Ids of data sets on the Hub, for the card's front matter."""
    recipe: str | None = None
    """The option file, as "options/rcan_x4.yml"."""
    recipe_link: str | None = None
    """Path of that file, relative to the card."""
    started_from: str | None = None
    """Weights that the training started from: a bundled name, an id on the Hub, or a file."""
    base_model: str | None = None
    """Id of these weights on the Hub, for the card's front matter; None if they are not there."""
    iterations: int | None = None
    loss: str | None = None
    interpolation: str | None = None
    """Weights that were interpolated, as "0.2 × `a` + 0.8 × `b`"."""
    machine: str | None = None
    """Machine and time of the training."""

    def rows(self) -> list[tuple[str, str]]:
        """Returns the label and value of each known fact."""
        recipe = f"[{self.recipe}]({self.recipe_link})" if self.recipe_link else f"`{self.recipe}`"
        values = {
            "degradation": self.degradation,
            "data": self.data,
            "license of the data": self.data_license,
            "option file": recipe if self.recipe else None,
            "started from": self._start(),
            "iterations": f"{self.iterations:,}" if self.iterations else None,
            "loss": self.loss,
            "interpolated": self.interpolation,
            "machine and time": self.machine,
        }
        return [(label, value) for label, value in values.items() if value]

    def _start(self) -> str | None:
        if self.base_model:
            return f"[{self.base_model}](https://huggingface.co/{self.base_model})"
        return f"`{self.started_from}`" if self.started_from else None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of converted weights."""

    source: str
    """File name or address."""
    sha256: str
    license: str | None = None
    """The license stated by their author; None if none is stated."""

    def rows(self) -> list[tuple[str, str]]:
        """Returns labels and values for the card."""
        return [
            ("source", f"`{self.source}`"),
            ("SHA-256", f"`{self.sha256}`"),
            (
                "license of the weights",
                self.license or "none stated: ask their author before you redistribute them",
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Comparison of input and result, and the speed."""

    image: bytes
    """Content of a WebP file: crops at full size, side by side."""
    caption: str
    """The parts of the image, from left to right."""
    speed: str
    """Seconds, with the size of the image and the machine."""
