"""Several processes on this machine, by torch's own elastic launcher; errors stay one line.

`torchrun` and `python -m accelerate.commands.launch` start the same processes from outside.
"""

from __future__ import annotations

import logging
import os
import subprocess
import uuid
from collections.abc import Callable
from typing import Any

from hfsr.errors import OptionsError

__all__ = ["adopt_slurm", "is_worker", "launch"]


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
        0 when all of them did, else 1.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes have told what went wrong
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
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
    except ChildFailedError:
        return 1
    return 0


def _work(work: Callable[..., int], *arguments: Any) -> None:
    """Turns an exit code into an exit, which is what the launcher sees."""
    code = work(*arguments)
    if code:
        raise SystemExit(code)
