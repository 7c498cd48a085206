"""Launches several processes on this machine with torch's elastic launcher; errors stay one line.

`torchrun` and `python -m accelerate.commands.launch` start equal processes from outside.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from hfsr.errors import HfsrError, OptionsError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

__all__ = ["adopt_slurm", "is_worker", "launch"]


_LOGGERS = (
    "torch.distributed.elastic",
    "torch.distributed.elastic.agent.server.api",
    "torch.multiprocessing",
)


def is_worker() -> bool:
    """Returns True if a launcher started this process."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def adopt_slurm() -> None:
    """Sets torch's environment variables from those of srun: `--launcher slurm`.

    Raises:
        OptionsError: if srun did not start this process.
    """
    given = os.environ
    if "SLURM_PROCID" not in given:
        raise OptionsError("--launcher slurm: this process was not started by srun; use --num_processes N")
    given.setdefault("RANK", given["SLURM_PROCID"])
    given.setdefault("WORLD_SIZE", given["SLURM_NTASKS"])
    given.setdefault("LOCAL_RANK", given["SLURM_LOCALID"])
    if "MASTER_ADDR" not in given:
        command = ["scontrol", "show", "hostnames", given["SLURM_NODELIST"]]
        given["MASTER_ADDR"] = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.split()[0]
    given.setdefault("MASTER_PORT", "29500")


def launch(work: Callable[..., int], arguments: tuple[Any, ...], *, processes: int) -> int:
    """Runs `work(*arguments)` in several new processes that form one process group.

    Args:
        work: an importable function that returns an exit code and reports its own errors.
        arguments: its arguments, which must be picklable.
        processes: number of processes; they share the CPU threads.

    Returns:
        0 if all processes returned 0, 128 plus the number of a stopping signal, else 1.

    Raises:
        HfsrError: if a process was killed; the others are ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes report their own errors
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, _work)(work, *arguments)
    except SignalException as stop:  # torch has passed it to the processes, which have ended
        return 128 + int(stop.sigval)
    except ChildFailedError as error:
        return _exit_code(error.failures)
    return 0


def _exit_code(failures: Mapping[int, ProcessFailure]) -> int:
    """Returns the exit code of the command after processes failed.

    Raises:
        HfsrError: if a signal killed one of them; the failures of the others follow from that.
    """
    killed = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0}
    # The launcher ends the others by SIGTERM, so any other signal was the first.
    first = min(killed, key=lambda rank: (-killed[rank].exitcode == signal.SIGTERM, rank), default=None)
    if first is not None:
        failure = killed[first]
        name = signal.Signals(-failure.exitcode).name
        reason = ", as the system does if memory runs out: lower batch_size_per_gpu or --num_processes"
        raise HfsrError(
            f"{name} ended process {first} of the run (pid {failure.pid})"
            f"{reason if name == 'SIGKILL' else ''}; resume with --auto_resume"
        )
    codes = {failure.exitcode for failure in failures.values()}
    return codes.pop() if len(codes) == 1 and min(codes) > 128 else 1


def _work(work: Callable[..., int], *arguments: Any) -> None:
    """Turns an exit code into SystemExit, which the launcher observes."""
    # tqdm's default lock is a semaphore, which makes Python warn when this process is killed.
    tqdm.set_lock(threading.RLock())
    code = work(*arguments)
    if code:
        raise SystemExit(code)
