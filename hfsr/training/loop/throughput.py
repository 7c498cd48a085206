"""Means of losses and speeds since the last report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from accelerate import Accelerator
from torch import Tensor

__all__ = ["ThroughputMeter"]


class ThroughputMeter:
    """Sums over iterations; losses stay on the device until they are asked for."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Starts a new window."""
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._data = self._idle = 0.0
        self._begin = time.perf_counter()

    def add(self, losses: dict[str, Tensor], data_time: float) -> None:
        """Counts one iteration, of which `data_time` seconds went into its batches."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        self._data += data_time

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count as training."""
        begin = time.perf_counter()
        yield
        self._idle += time.perf_counter() - begin

    def losses(self, accelerator: Accelerator) -> dict[str, float]:
        """The mean of each loss over the iterations and all processes."""
        reduced = {name: accelerator.reduce(value, "mean") for name, value in self._sums.items()}
        return {name: float(value) / self._count for name, value in reduced.items()}

    def speed(self) -> float:
        """Iterations per second."""
        return self._count / self._seconds()

    def data_share(self) -> float:
        """Share of the time spent on making batches, 0 to 1."""
        return self._data / self._seconds()

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._begin - self._idle, 1e-9)
