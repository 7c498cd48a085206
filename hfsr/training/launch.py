"""Several processes on this machine, by torch's own elastic launcher; errors stay one line.

`torchrun` and `python -m accelerate.commands.launch` start the same processes from outside.
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
    """Whether this process was started by a launcher."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def adopt_slurm() -> None:
    """Tells torch what srun told this process: `--launcher slurm`.

    Raises:
        OptionsError: srun did not start this process.
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
        work: importable; returns an exit code, having told the user what went wrong.
        arguments: picklable.
        processes: how many; threads are shared among them.

    Returns:
        0 when all of them did; 128 and the signal's number when a signal stopped them; else 1.

    Raises:
        HfsrError: a process was killed; the others are ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes have told what went wrong
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
    except SignalException as stop:  # passed on to the processes, which have ended
        return 128 + int(stop.sigval)
    except ChildFailedError as error:
        return _exit_code(error.failures)
    return 0


def _exit_code(failures: Mapping[int, ProcessFailure]) -> int:
    """What the command ends with when processes failed.

    Raises:
        HfsrError: one was killed by a signal; those that then lost it have failed by that.
    """
    killed = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0}
    # The launcher ends the others by SIGTERM, so any other signal came first.
    first = min(killed, key=lambda rank: (-killed[rank].exitcode == signal.SIGTERM, rank), default=None)
    if first is not None:
        failure = killed[first]
        name = signal.Signals(-failure.exitcode).name
        reason = "; the system does that when memory ends: lower batch_size_per_gpu or --num_processes"
        raise HfsrError(
            f"process {first} of the run (pid {failure.pid}) was ended by {name}"
            f"{reason if name == 'SIGKILL' else ''}; go on with --auto_resume"
        )
    codes = {failure.exitcode for failure in failures.values()}
    return codes.pop() if len(codes) == 1 and min(codes) > 128 else 1


def _work(work: Callable[..., int], *arguments: Any) -> None:
    """Turns an exit code into an exit, which is what the launcher sees."""
    # tqdm's own lock is a semaphore, of which Python warns when this process is killed.
    tqdm.set_lock(threading.RLock())
    code = work(*arguments)
    if code:
        raise SystemExit(code)
