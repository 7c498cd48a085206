"""Catalog of the choices that the page offers for each task, and model loading."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

import hfsr
from hfsr import _resources
from hfsr.checkpoints import interpolate
from hfsr.errors import OptionsError
from hfsr.model_choice import RESTORATIONS, Interpolated, bundled_restorer, clean_partner

PURPOSES = {"auto": None, "photo": "photo", "clean": "clean"}
"""Choices that are no models: the bundled models for an image are chosen by `hfsr.model_choice`."""
STRENGTH_OF_PHOTOS = ("keeps detail", "removes artifacts")
STRENGTH_OF_TRAININGS = ("mild", "sharp")
"""Labels of the strengths 0 and 1: of the models for photos, and of those with a milder training."""
SPACE_DIR = Path(__file__).resolve().parent.parent
"""Folder of the Space."""


@dataclass(frozen=True)
class CatalogEntry:
    """One choice of the catalog.

    Attributes:
        task: task under which the choice is listed.
        label: text that the visitor sees.
        model: one of `PURPOSES`, a bundled name or a Hub id; on a local machine, anything that
            `from_pretrained` accepts.
        mild: model with the same network and milder training; the strength interpolates between both.
    """

    task: str
    label: str
    model: str
    mild: str | None = None


class ModelCatalog:
    """The offered models, by name.

    Args:
        entries: in the order of the page; the first one is selected at the start.

    Raises:
        OptionsError: the catalog is empty, or lists a model twice.
    """

    def __init__(self, entries: list[CatalogEntry]) -> None:
        self.by_model = {entry.model: entry for entry in entries}
        if not entries or len(self.by_model) < len(entries):
            names = [entry.model for entry in entries]
            raise OptionsError(
                f"the catalog lists {names or 'no models'}; list each model once, and at least one"
            )

    @classmethod
    def read(cls, path: Path = SPACE_DIR / "models.yml") -> ModelCatalog:
        """Reads `models.yml`: task -> label -> model, or `{model: ..., mild: ...}`.

        A model may be given as a task of `RESTORATIONS`: the bundled model for it, if one is bundled.
        """
        entries = []
        for task, models in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for label, value in models.items():
                names = dict(value) if isinstance(value, dict) else {"model": value}
                if names["model"] in RESTORATIONS.values():
                    names["model"] = bundled_restorer(names["model"])
                if names["model"] is not None:
                    entries.append(CatalogEntry(task, str(label), **names))
        return cls(entries)

    @property
    def first(self) -> CatalogEntry:
        """Entry that is selected at the start."""
        return next(iter(self.by_model.values()))

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order of the page."""
        return list(dict.fromkeys(entry.task for entry in self.by_model.values()))

    @property
    def names(self) -> list[str]:
        """Choices of programs: those of the page, and the bundled models where these are chosen from."""
        bundled = _resources.bundled_models() if PURPOSES.keys() & self.by_model.keys() else []
        return list(dict.fromkeys([*self.by_model, *bundled]))

    def of_task(self, task: str) -> list[tuple[str, str]]:
        """Returns the (label, model) pairs of one task."""
        return [(entry.label, entry.model) for entry in self.by_model.values() if entry.task == task]

    def label_of(self, model: str) -> str:
        """Returns the text that the visitor sees for a choice."""
        return self.by_model[model].label if model in self.by_model else model

    def scale_of(self, model: str) -> float | None:
        """Returns the scale of a model; None for a purpose, or if the model cannot be loaded."""
        if model not in PURPOSES:
            with suppress(hfsr.HfsrError):
                return float(load(model).scale)
        return None

    def strength_labels(self, model: str) -> tuple[str, str] | None:
        """Returns labels for the strengths 0 and 1 of a choice; None if it has only one strength."""
        if model == "photo":
            has_partner = any(map(clean_partner, _resources.bundled_models()))
            return STRENGTH_OF_PHOTOS if has_partner else None
        if model in self.by_model and self.by_model[model].mild is not None:
            return STRENGTH_OF_TRAININGS
        return STRENGTH_OF_PHOTOS if clean_partner(model) else None

    def at_strength(self, model: str, strength: float) -> str | Interpolated:
        """Returns the network of a model at a strength.

        Raises:
            OptionsError: the model has only one strength.
        """
        if strength == 1:
            return model
        entry = self.by_model.get(model)
        mild = entry.mild if entry is not None and entry.mild is not None else clean_partner(model)
        if mild is None:
            raise OptionsError(f"'{self.label_of(model)}' has only one strength; leave it at 1")
        return Interpolated(mild, model, strength) if strength else mild


def load(model: str | Interpolated) -> Any:
    """Loads a model and keeps it in memory, so that only the first visitor waits for it."""
    return _load_interpolated(model) if isinstance(model, Interpolated) else _load_trained(model)


@lru_cache(maxsize=8)
def _load_trained(model: str) -> Any:
    return hfsr.from_pretrained(model)


@lru_cache(maxsize=2)
def _load_interpolated(model: Interpolated) -> Any:
    names = (model.clean, model.photo)
    return interpolate(*map(load, names), model.strength, names=names)
