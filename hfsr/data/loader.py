"""Which patches each iteration of each process sees, from the count of those already seen alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .patches import Batch, PatchSource
from .randomness import epoch_order
from .scales import MixedScales

__all__ = ["Batches"]


class Batches:
    """An endless stream of indices, epoch after epoch, dealt to the processes in turn.

    All processes together draw the same patches as one process with the batch of all of them.

    Args:
        source: the patches.
        batch_size: patches of one process and step.
        enlarge: indices per image and epoch.
        shuffle: a new order each epoch.
        seed: of the order.
        rank, world_size: this process and how many there are.
    """

    def __init__(
        self,
        source: PatchSource,
        *,
        batch_size: int,
        enlarge: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.source, self.batch_size, self.shuffle, self.seed = source, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch_length = len(source) * enlarge
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def global_batch(self) -> int:
        """Patches of one step in all processes together."""
        return self.batch_size * self.world_size

    def epoch_of(self, seen: int) -> int:
        """The epoch in which `seen` patches have been drawn."""
        return seen // self.epoch_length

    def at(self, seen: int) -> Batch:
        """The batch of this process when all of them have drawn `seen` patches."""
        start = seen + self.rank * self.batch_size
        parts: list[Batch] = []
        left = self.batch_size
        while left:
            epoch, position = divmod(start, self.epoch_length)
            indices = self._epoch(epoch)[position : position + left]
            parts.append(self._patches(epoch, indices, seen // self.global_batch))
            start, left = start + len(indices), left - len(indices)
        if len(parts) == 1:
            return parts[0]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def _patches(self, epoch: int, indices: NDArray[np.int64], step: int) -> Batch:
        if isinstance(self.source, MixedScales):
            return self.source.batch(epoch, indices, step)
        return self.source.batch(epoch, indices)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(self.seed, epoch, self.epoch_length)
            self._order = (epoch, order if self.shuffle else np.arange(self.epoch_length))
        return self._order[1]
