"""Data sets of other packages (BasicSR's and its plugins') as a source of patches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hfsr.errors import DataError

from .patches import Batch
from .randomness import uniforms

__all__ = ["ForeignSource", "MapDataset"]


class MapDataset(Protocol):
    """A data set that returns one item at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Returns `lq` and `gt`, RGB float in [0, 1], (3, h, w); other keys are ignored."""


class ForeignSource:
    """Patches of such a data set, which draws from global generators; seeds them from (seed, epoch, index).

    Args:
        dataset: an instance of a data set that another package registered.
        seed: seed of all its random numbers.
    """

    left_out = 0
    deep = 0

    def __init__(self, dataset: MapDataset, *, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        seeds = (uniforms(self.seed, epoch, indices, 1)[:, 0] * 2**32).astype(np.int64)
        items = []
        for index, seed in zip(indices.tolist(), seeds.tolist(), strict=True):
            with _seeded(seed):
                items.append(self.dataset[index % len(self.dataset)])
        missing = {"lq", "gt"} - items[0].keys()
        if missing:
            raise DataError(
                f"{type(self.dataset).__name__} returns no '{missing.pop()}'; training needs lq and gt"
            )
        return {key: torch.stack([item[key] for item in items]) for key in ("lq", "gt")}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators and restores their state afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
