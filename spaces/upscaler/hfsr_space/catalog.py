"""Catalog of the models that the page offers for each task, and model loading."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

import hfsr
from hfsr.checkpoints import interpolate
from hfsr.errors import OptionsError

SPACE_DIR = Path(__file__).resolve().parent.parent
"""Folder of the Space."""


@dataclass(frozen=True)
class CatalogEntry:
    """One model of the catalog.

    Attributes:
        task: task under which the model is listed.
        label: text that the visitor sees.
        model: bundled name or Hub id; on a local machine, anything that `from_pretrained` accepts.
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
        """Reads `models.yml`: task -> label -> model, or `{model: ..., mild: ...}`."""
        entries = []
        for task, models in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for label, value in models.items():
                names = value if isinstance(value, dict) else {"model": value}
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

    def of_task(self, task: str) -> list[tuple[str, str]]:
        """Returns the (label, model) pairs of one task."""
        return [(entry.label, entry.model) for entry in self.by_model.values() if entry.task == task]

    def preload(self) -> None:
        """Loads the first model in the background, so that the first visitor does not wait for it.

        Errors are ignored here; the visitor who selects the model gets them.
        """

        def load_first() -> None:
            with suppress(hfsr.HfsrError):
                self.load(self.first.model)

        Thread(target=load_first, name="preload", daemon=True).start()

    def load(self, model: str, strength: float = 1.0) -> Any:
        """Loads a model; a strength below 1 interpolates to its milder training.

        Raises:
            OptionsError: the strength is out of range, or the model has no milder training.
        """
        entry = self.by_model[model]
        if strength == 1:
            return load(model)
        if entry.mild is None:
            raise OptionsError(f"'{model}' has only one strength; leave it at 1")
        return load_interpolated(entry.mild, model, round(strength, 2))


@lru_cache(maxsize=4)
def load(model: str) -> Any:
    """Loads a model and keeps it in memory, so that only the first visitor waits for it."""
    return hfsr.from_pretrained(model)


@lru_cache(maxsize=2)
def load_interpolated(mild: str, strong: str, strength: float) -> Any:
    """Returns the interpolation of two trainings: strength 0 is the mild one, 1 the strong one."""
    return interpolate(load(mild), load(strong), strength, names=(mild, strong))
