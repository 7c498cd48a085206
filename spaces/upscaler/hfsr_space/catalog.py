"""The menu: which models are offered for which task, and loading them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

import hfsr
from hfsr.checkpoints import interpolate
from hfsr.errors import OptionsError

HERE = Path(__file__).resolve().parent.parent
"""The Space's folder."""


@dataclass(frozen=True)
class Offer:
    """One line of the menu.

    Attributes:
        task: the group that it stands in.
        label: what the visitor reads.
        model: a bundled name, a Hub id, or, on one's own machine, anything that `from_pretrained` reads.
        mild: a gentler training of the same network, between which and `model` the strength lies.
    """

    task: str
    label: str
    model: str
    mild: str | None = None


class Menu:
    """What is offered, by the name of the model.

    Args:
        offers: in the order of the page; the first one is chosen at the start.

    Raises:
        OptionsError: there is none, or a model stands there twice.
    """

    def __init__(self, offers: list[Offer]) -> None:
        self.by_model = {offer.model: offer for offer in offers}
        if not offers or len(self.by_model) < len(offers):
            names = [offer.model for offer in offers]
            raise OptionsError(f"the menu lists {names or 'nothing'}; list each model once, and at least one")

    @classmethod
    def read(cls, path: Path = HERE / "models.yml") -> Menu:
        """Reads the list file: task -> label -> model, or `{model: ..., mild: ...}`."""
        offers = []
        for task, models in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for label, named in models.items():
                names = named if isinstance(named, dict) else {"model": named}
                offers.append(Offer(task, str(label), **names))
        return cls(offers)

    @property
    def first(self) -> Offer:
        return next(iter(self.by_model.values()))

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(offer.task for offer in self.by_model.values()))

    def of_task(self, task: str) -> list[tuple[str, str]]:
        """(label, model) of each offer of one task."""
        return [(offer.label, offer.model) for offer in self.by_model.values() if offer.task == task]

    def load(self, model: str, strength: float = 1.0) -> Any:
        """A model of the menu, milder with a strength below 1.

        Raises:
            OptionsError: the strength is out of range, or the model has no milder training.
        """
        offer = self.by_model[model]
        if strength == 1:
            return load(model)
        if offer.mild is None:
            raise OptionsError(f"'{model}' knows one strength only; leave it at 1")
        return between(offer.mild, model, round(strength, 2))


@lru_cache(maxsize=4)
def load(model: str) -> Any:
    """A model stays in memory, so that only its first visitor waits for it."""
    return hfsr.from_pretrained(model)


@lru_cache(maxsize=2)
def between(mild: str, strong: str, strength: float) -> Any:
    """The network between two trainings: 0 is the mild one, 1 the strong one."""
    return interpolate(load(mild), load(strong), strength, names=(mild, strong))
