"""Selects the patches of each iteration and process, from the number of drawn patches alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hfsr.errors import OptionsError

from .patches import Batch, PatchCutter, PatchSource
from .randomness import epoch_order
from .scales import MixedScales

__all__ = ["Batches", "PairPool", "Stages"]

_ORDERS = 8
"""Number of epochs whose order is cached."""


@dataclass(frozen=True)
class Stages:
    """Stages of progressive training (Restormer): patches grow while batches shrink.

    Args:
        iters: iterations of each stage; the last stage continues to the end.
        batch_sizes: patches per process and step.
        gt_sizes: side of a GT patch in px.
    """

    iters: Sequence[int]
    batch_sizes: Sequence[int]
    gt_sizes: Sequence[int]

    def at(self, iteration: int) -> tuple[int, int]:
        """Returns batch size and side of a GT patch in an iteration, counted from 1."""
        ends = np.cumsum(self.iters)
        stage = min(int(np.searchsorted(ends, iteration)), len(ends) - 1)
        return self.batch_sizes[stage], self.gt_sizes[stage]


class PairPool:
    """The order in which Real-ESRGAN's pool of pairs returns pairs, as a function of the step.

    The first batches fill the pool and are returned unchanged. Then each step shuffles the pool, returns its
    first pairs and puts the new pairs in their place. The pool contains only the numbers of the draws, not
    the pairs: a pair is cut when it is returned.

    Args:
        size: number of pairs in the pool, a multiple of the batch.
        batch: pairs of a step.
        seed: seed of the shuffling.
    """

    _REMEMBERED = 1024  # steps

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self.size, self.batch, self.seed = size, batch, seed
        self._lock = threading.Lock()
        self._restart()

    def at(self, step: int) -> NDArray[np.int64]:
        """Returns the numbers of the draws in the batch of a step; both are counted from 0."""
        with self._lock:
            if step not in self._given and step < self._next:
                self._restart()
            while self._next <= step:
                self._given[self._next] = self._advance()
                self._given.pop(self._next - self._REMEMBERED, None)
                self._next += 1
            return self._given[step]

    def _restart(self) -> None:
        self._rng = np.random.default_rng([self.seed, 0x9001])
        self._pool = np.arange(0)
        self._next = 0
        self._given: dict[int, NDArray[np.int64]] = {}

    def _advance(self) -> NDArray[np.int64]:
        new = np.arange(self._next * self.batch, (self._next + 1) * self.batch)
        if len(self._pool) < self.size:
            self._pool = np.concatenate([self._pool, new])
            return new
        self._rng.shuffle(self._pool)
        given = self._pool[: self.batch].copy()
        self._pool[: self.batch] = new
        return given


class Batches:
    """An endless stream of indices, epoch after epoch, distributed to the processes in turn.

    All processes together draw the same patches as one process with their total batch size.

    Args:
        source: the patches.
        batch_size: patches of one process and step.
        enlarge: indices per image and epoch.
        shuffle: True for a new order in each epoch.
        seed: seed of the order.
        rank, world_size: index of this process, and number of processes.
        queue_size: pairs per process in the pool from which batches are drawn; 0 for no pool.
        stages: stages of progressive training.
        accum_iter: steps of an iteration; stages count iterations.

    Raises:
        OptionsError: if the source does not support stages or a pool.
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
        queue_size: int = 0,
        stages: Stages | None = None,
        accum_iter: int = 1,
    ) -> None:
        self.source, self.batch_size, self.shuffle, self.seed = source, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch_length = len(source) * enlarge
        self._orders: dict[int, NDArray[np.int64]] = {}
        self.stages, self.accum_iter = stages, accum_iter
        self.continue_from(0, 0)
        if stages is not None and not isinstance(source, PatchCutter):
            raise OptionsError(
                "datasets.train.gt_sizes: this data set provides patches of one size; leave out gt_sizes, "
                "mini_batch_sizes and iters"
            )
        if queue_size and isinstance(source, MixedScales):
            raise OptionsError("datasets.train.queue_size: needs patches of one scale; leave out scales")
        self._pool = PairPool(queue_size * world_size, self.global_batch, seed) if queue_size else None

    def continue_from(self, seen: int, iteration: int) -> None:
        """Sets the position of a resumed run, whose earlier iterations may have had batches of another size.

        Args:
            seen: patches that all processes together had drawn.
            iteration: finished iterations.
        """
        self._start_seen, self._start_iteration = seen, iteration

    def _iteration(self, seen: int) -> int:
        """Returns the iteration, counted from 1, that draws its patches after `seen` drawn patches."""
        steps = (seen - self._start_seen) // self.global_batch
        return self._start_iteration + steps // self.accum_iter + 1

    @property
    def global_batch(self) -> int:
        """Number of patches of one step in all processes together."""
        return self.batch_size * self.world_size

    def epoch_of(self, seen: int) -> int:
        """Returns the epoch after `seen` drawn patches."""
        return seen // self.epoch_length

    def at(self, seen: int) -> Batch:
        """Returns the batch of this process after all processes together have drawn `seen` patches."""
        step = seen // self.global_batch
        count, gt_size = self.batch_size, None
        if self.stages is not None:
            number, gt_size = self.stages.at(self._iteration(seen))
            count = min(number, count)
        if self._pool is not None:
            first = self.rank * self.batch_size
            return self._drawn(self._pool.at(step)[first : first + count])
        start = seen + self.rank * self.batch_size
        parts: list[Batch] = []
        while count:
            epoch, position = divmod(start, self.epoch_length)
            indices = self._epoch(epoch)[position : position + count]
            parts.append(self._patches(epoch, indices, step, gt_size))
            start, count = start + len(indices), count - len(indices)
        if len(parts) == 1:
            return parts[0]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def _drawn(self, numbers: NDArray[np.int64]) -> Batch:
        """Returns the patches of draws from any epochs, in the order of the draws."""
        epochs, positions = np.divmod(numbers, self.epoch_length)
        order: list[NDArray[np.int64]] = []
        parts: list[Batch] = []
        for epoch in np.unique(epochs):
            (here,) = np.nonzero(epochs == epoch)
            order.append(here)
            parts.append(self.source.batch(int(epoch), self._epoch(int(epoch))[positions[here]]))
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        return {key: torch.cat([part[key] for part in parts])[back] for key in parts[0]}

    def _patches(
        self, epoch: int, indices: NDArray[np.int64], step: int, gt_size: int | None = None
    ) -> Batch:
        if isinstance(self.source, MixedScales):
            return self.source.batch(epoch, indices, step)
        if gt_size is not None and isinstance(self.source, PatchCutter):
            return self.source.batch(epoch, indices, gt_size)
        return self.source.batch(epoch, indices)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        orders = self._orders  # of a few epochs, because threads and the pool alternate between them
        if epoch not in orders:
            order = epoch_order(self.seed, epoch, self.epoch_length)
            if len(orders) >= _ORDERS:
                orders = {}
            orders = {**orders, epoch: order if self.shuffle else np.arange(self.epoch_length)}
            self._orders = orders
        return orders[epoch]
