"""Prepares batches in threads while the network computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from hfsr.data import Batch, Batches, ForeignSource

__all__ = ["BatchPrefetcher"]


class BatchPrefetcher:
    """Yields the batches of a run in their order and prepares some ahead, which does not change them.

    Args:
        batches: the batches as a function of the drawn patches, so that threads may request any of them.
        threads: `num_worker_per_gpu`; 0 prepares a batch when it is requested. Data sets of other packages
            draw from the process's random numbers, so their batches are never prepared ahead.
    """

    def __init__(self, batches: Batches, threads: int) -> None:
        self.batches = batches
        self.threads = 0 if isinstance(batches.source, ForeignSource) else threads
        self._pool = ThreadPoolExecutor(self.threads, "batches") if self.threads else None
        self._ready: deque[tuple[int, Future[Batch]]] = deque()

    def at(self, seen: int) -> Batch:
        """Returns the batch of this process after all processes together have drawn `seen` patches."""
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
