"""Batches cut by threads while the network computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from hfsr.data import Batch, Batches, ForeignSource

__all__ = ["BatchPrefetcher"]


class BatchPrefetcher:
    """The batches of a run in their order, some of them prepared ahead; which they are does not depend on it.

    Args:
        batches: a function of what was seen alone, so threads may ask it in any order.
        threads: `num_worker_per_gpu`; with 0 a batch is cut when it is asked for. Data sets of other packages
            draw from the process's random numbers and are always read in step.
    """

    def __init__(self, batches: Batches, threads: int) -> None:
        self.batches = batches
        self.threads = 0 if isinstance(batches.source, ForeignSource) else threads
        self._pool = ThreadPoolExecutor(self.threads, "batches") if self.threads else None
        self._ready: deque[tuple[int, Future[Batch]]] = deque()

    def at(self, seen: int) -> Batch:
        """The batch of this process when all of them have drawn `seen` patches."""
        if self._pool is None:
            return self.batches.at(seen)
        if self._ready and self._ready[0][0] != seen:
            self._ready.clear()
        step = self.batches.global_batch
        following = self._ready[-1][0] + step if self._ready else seen
        while len(self._ready) <= self.threads:
            self._ready.append((following, self._pool.submit(self.batches.at, following)))
            following += step
        return self._ready.popleft()[1].result()

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
