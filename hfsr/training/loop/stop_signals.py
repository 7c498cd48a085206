"""Signals that stop a run: the iteration is finished and a state saved before the process ends."""

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
"""Signals of Slurm and of preemptible machines, of Ctrl-C, and the usual one of `sbatch --signal`."""
_REPEAT_SECONDS = 0.5
"""Launchers repeat a signal that the terminal has already sent; only a later one counts as the second."""
_GPU_INTERVAL = 8
"""Iterations between two agreements on GPUs, because an agreement waits for the device."""


class TrainingStopped(KeyboardInterrupt):
    """Raised when a signal has stopped a run and its state is saved.

    Args:
        number: number of the signal; the exit code of a command is 128 plus this number.
    """

    is_reported = True
    """True: the log of the run reports it already."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class StopSignals:
    """Records a signal within its context; a second signal ends the process at once.

    Args:
        accelerator: the processes, which agree on the iteration after which they stop.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._received, self._time = 0, 0.0
        self._before: Mapping[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only this one receives signals
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            # A signal that the shell made this process ignore, as SIGINT in the background, stays ignored.
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
        """Returns the signal after which all processes stop now, or 0; each calls it in every iteration."""
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
