"""Means of losses and speeds since the last report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from accelerate import Accelerator
from torch import Tensor

__all__ = ["ThroughputMeter"]


class ThroughputMeter:
    """Sums losses and times over iterations; losses stay on the device until they are read."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Starts a new window."""
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._data = self._idle = 0.0
        self._begin = time.perf_counter()

    def add(self, losses: dict[str, Tensor], data_time: float) -> None:
        """Counts one iteration, which waited `data_time` seconds for its batches."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        self._data += data_time

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of its context from the training time."""
        begin = time.perf_counter()
        yield
        self._idle += time.perf_counter() - begin

    def losses(self, accelerator: Accelerator) -> dict[str, float]:
        """Returns the mean of each loss over the iterations and all processes."""
        reduced = {name: accelerator.reduce(value, "mean") for name, value in self._sums.items()}
        return {name: float(value) / self._count for name, value in reduced.items()}

    def speed(self) -> float:
        """Returns iterations per second."""
        return self._count / self._seconds()

    def data_share(self) -> float:
        """Returns the share of the time spent on waiting for batches, 0 to 1."""
        return self._data / self._seconds()

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._begin - self._idle, 1e-9)
