"""Restores test and validation sets without ground truth, and measures them without a reference."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from hfsr.options.sections import Typed
from hfsr.registry import METRICS

__all__ = ["Restoration", "needs_reference"]


@dataclass(frozen=True)
class Restoration:
    """Results on one set without ground truth."""

    set: str
    images: int
    metrics: Mapping[str, float]
    """Means of the metrics that need no reference, by their names in the file."""
    left_out: tuple[str, ...]
    """Metrics that need a reference."""
    folder: str | None
    """Folder of the written images."""

    def __str__(self) -> str:
        text = f"{self.set}: {self.images} images without ground truth restored"
        text += "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        if self.left_out:
            text += f"; left out without a reference: {', '.join(self.left_out)}"
        return text + (f"; written to '{self.folder}'" if self.folder else "")


def needs_reference(metric: Typed) -> bool:
    """Returns True if a metric compares with the ground truth, that is, takes `img2`."""
    return "img2" in inspect.signature(METRICS[metric.type]).parameters
