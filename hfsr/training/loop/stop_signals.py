"""Signals that ask a run to stop: the iteration is finished and a state saved before the process ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

__all__ = ["StopSignals", "TrainingStopped"]

_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")
"""What Slurm and spot machines send, Ctrl-C, and what `sbatch --signal` is usually told to send."""
_REPEAT_SECONDS = 0.5
"""Launchers pass on what a terminal has sent already; only a later signal is a second one."""
_GPU_INTERVAL = 8
"""Iterations between two agreements on GPUs, which wait for the device."""


class TrainingStopped(KeyboardInterrupt):
    """A run has saved its state because a signal asked it to stop.

    Args:
        number: of the signal; a command ends with 128 more than that.
    """

    is_reported = True
    """The run's log says it already."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class StopSignals:
    """Remembers within its context that a signal asked to stop; a second one ends the process at once.

    Args:
        accelerator: its processes agree on the iteration after which they stop.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._received, self._time = 0, 0.0
        self._before: Mapping[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only there can signals be received
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            # What a shell made this process ignore, as SIGINT in the background, stays ignored.
            self._before = {
                number: signal.signal(number, self._receive)
                for number in numbers
                if signal.getsignal(number) != signal.SIG_IGN
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def agreed(self, iteration: int) -> int:
        """The signal after which all processes stop now, or 0; called by all of them in each iteration."""
        if self._accelerator.num_processes == 1:
            return self._received
        device = self._accelerator.device
        if device.type != "cpu" and iteration % _GPU_INTERVAL:
            return 0
        received = torch.tensor([self._received], device=device)
        torch.distributed.all_reduce(received, torch.distributed.ReduceOp.MAX)
        return int(received.item())

    def _receive(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if not self._received:
            self._received, self._time = number, now
        elif now - self._time > _REPEAT_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
