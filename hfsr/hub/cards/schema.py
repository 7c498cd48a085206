"""What a card tells beyond the network itself: training, provenance, an example; and the files beside it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CURVE", "EXAMPLE", "OPTION_FILE", "TASKS", "Example", "Provenance", "Training"]

CURVE = "training_curve.png"
"""The file beside a card that shows how its training went."""
EXAMPLE = "example.webp"
"""The file beside a card that shows before and after."""
OPTION_FILE = "recipe.yml"
"""The file beside a card that is the option file of its training."""
TASKS = {
    "super-resolution": "enlarges pictures {scale} times in width and height",
    "restoration": "restores pictures and keeps their size",
    "denoising": "removes noise from pictures",
    "deblurring": "sharpens blurred pictures",
    "demosaicing": "makes pictures of the single colour that a sensor saw at each px",
    "enhancement": "corrects the light and the colours of pictures",
    "jpeg-artefact-removal": "removes the artefacts of JPEG from pictures",
}
"""What weights are for, as `config.json` has it -> what they do, for the first sentence."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights were made, as far as it is known; each word is shown as it stands."""

    degradation: str | None = None
    """What the network learned to undo, as "MATLAB bicubic reduction by 2"."""
    data: str | None = None
    """The pictures, as "DIV2K, 800 pictures"."""
    data_license: str | None = None
    datasets: tuple[str, ...] = ()
    """Ids of data sets on the Hub, for the card's front matter."""
    recipe: str | None = None
    """The option file, as "options/rcan_x4.yml"."""
    recipe_link: str | None = None
    """Where that file is, seen from the card."""
    iterations: int | None = None
    loss: str | None = None
    interpolation: str | None = None
    """What the weights were mixed of, as "0.2 × `a` + 0.8 × `b`"."""
    machine: str | None = None
    """What it was trained on and for how long."""

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of everything that is known."""
        recipe = f"[{self.recipe}]({self.recipe_link})" if self.recipe_link else f"`{self.recipe}`"
        told = {
            "degradation": self.degradation,
            "data": self.data,
            "license of the data": self.data_license,
            "option file": recipe if self.recipe else None,
            "iterations": f"{self.iterations:,}" if self.iterations else None,
            "loss": self.loss,
            "interpolated": self.interpolation,
            "machine and time": self.machine,
        }
        return [(label, value) for label, value in told.items() if value]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where converted weights come from."""

    source: str
    """File or address."""
    sha256: str
    license: str | None = None
    """The license that their author gave them; None when none is stated."""

    def rows(self) -> list[tuple[str, str]]:
        """Label and value, for the card."""
        return [
            ("source", f"`{self.source}`"),
            ("SHA-256", f"`{self.sha256}`"),
            (
                "license of the weights",
                self.license or "none stated: ask their author before you pass them on",
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Before and after, for people, and how long it takes."""

    picture: bytes
    """A WebP file: crops at full size, side by side."""
    words: str
    """What its parts are, from left to right."""
    speed: str
    """Seconds, for what, on which machine."""
