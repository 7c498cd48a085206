"""Several processes of `hfsr upscale` on one machine: one parent that hands out images, and its workers."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from hfsr.cli.image_progress import Terminated, folder_progress, printing, stoppable
from hfsr.cli.input_files import Job, remove_unfinished
from hfsr.cli.job_pipeline import run_jobs
from hfsr.cli.upscale_job import Report, failed_report
from hfsr.cli.upscale_models import Models
from hfsr.cli.work_share import Share, largest_first
from hfsr.errors import HfsrWarning, UsageError

__all__ = ["devices_of", "run_in_processes", "threads_each", "use_device_of"]

NumberedJob = tuple[int, Job]
"""A job and its position in the list of all jobs."""


def devices_of(count: int, device: str | None) -> list[str | None]:
    """Returns the device of each of `count` processes: one GPU each, or the CPU for all.

    Raises:
        UsageError: there are fewer GPUs than processes, or the device has an index.
    """
    from hfsr.inference.runtime.accelerator import device_module
    from hfsr.inference.runtime.precision import choose_device

    chosen = choose_device(device)
    if chosen.type == "cpu":
        return ["cpu"] * count
    if device is not None and ":" in device:
        raise UsageError(f"--num_processes gives each process a GPU of its own; use --device {chosen.type}")
    found = device_module(chosen).device_count()
    if count > found:
        raise UsageError(
            f"--num_processes {count}, but this machine has {found} GPUs; one process runs on each"
        )
    return [f"{chosen.type}:{index}" for index in range(count)]


def use_device_of(share: Share, args: argparse.Namespace) -> None:
    """Sets GPU and threads of one of several processes that were started from outside.

    The GPU is that of the process's number on its machine, unless `--device` names one. Threads are left
    alone if the launcher has limited them or the cores.
    """
    import torch

    from hfsr.inference.runtime.accelerator import device_module
    from hfsr.inference.runtime.precision import choose_device

    device = choose_device(args.device)
    if device.type != "cpu":
        if args.device is None or ":" not in args.device:
            count = device_module(device).device_count()
            args.device = f"{device.type}:{share.local_index % count}"
    elif "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() >= (os.cpu_count() or 1) // 2:
        torch.set_num_threads(threads_each(share.local_count))


def threads_each(count: int) -> int:
    """Returns the threads of each of `count` processes that share this machine's cores."""
    import torch

    return max(1, torch.get_num_threads() // count)


def run_in_processes(
    args: argparse.Namespace, jobs: Sequence[Job], count: int, report: Callable[[Report], None]
) -> None:
    """Runs jobs in `count` worker processes, the largest images first.

    A worker that is lost fails the images that it held; another one takes its place.

    Args:
        args: arguments of the command.
        jobs: images and their results.
        count: number of workers.
        report: receives the report about each image, as it ends.
    """
    from hfsr.inference.runtime.memory import free_memory

    count = min(count, len(jobs))
    devices = devices_of(count, args.device)
    import torch

    setting = _Setting(args, threads_each(count), count, free_memory(torch.device("cpu")))
    order = largest_first(jobs)
    pixels = dict(order)
    pool = _Pool(setting, deque((position, jobs[position]) for position, _ in order), devices)
    with folder_progress(len(jobs), quiet=args.quiet) as progress, pool.running():
        for position, found in pool.reports():
            with printing():
                report(found)
            progress.add(pixels[position])


@dataclass(frozen=True)
class _Setting:
    """Arguments of every worker.

    Attributes:
        args: arguments of the command.
        threads: for the arithmetic of a worker.
        processes: number of workers.
        memory: bytes free before the start, which every worker plans with.
    """

    args: argparse.Namespace
    threads: int
    processes: int
    memory: int


@dataclass
class _Worker:
    """A worker process, the connection to it, and the jobs that it has not reported yet.

    Attributes:
        device: of its arithmetic.
        waits: True if it has asked for a job and got no answer yet.
        is_ready: True once it has asked for a job.
    """

    process: BaseProcess
    connection: Connection
    device: str | None
    held: dict[int, Job] = field(default_factory=dict)
    waits: bool = False
    is_ready: bool = False


class _Pool:
    """Workers and the queue of jobs.

    Args:
        setting: arguments of the workers.
        queue: jobs that no worker holds, in the order in which they start.
        devices: of the workers.
    """

    def __init__(self, setting: _Setting, queue: deque[NumberedJob], devices: Sequence[str | None]) -> None:
        self._setting = setting
        self._queue = queue
        self._devices = devices
        self._workers: list[_Worker] = []
        self._warned: set[str] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Starts the workers; ends them when the block ends, and at once if it fails or is interrupted."""
        try:
            for device in self._devices:
                self._start(device)
            yield
        except BaseException:
            for worker in self._workers:
                worker.process.terminate()  # as Ctrl-C: it removes its partial file
                worker.connection.close()  # on which a thread of it may wait
            raise
        finally:
            for worker in self._workers:
                worker.process.join()
                worker.connection.close()

    def reports(self) -> Iterator[tuple[int, Report]]:
        """Yields position and report of each job, as it ends."""
        while self._queue or any(worker.held for worker in self._workers):
            if not self._workers:  # none could start
                yield from self._fail(list(self._queue), "no process could be started")
                self._queue.clear()
                return
            for connection in wait([worker.connection for worker in self._workers]):
                worker = next(each for each in self._workers if each.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._lose(worker)
                    continue
                yield from self._receive(worker, message)
            self._hand_out()
        for worker in self._workers:
            _send(worker, None)

    def _receive(self, worker: _Worker, message: tuple[Any, ...]) -> Iterator[tuple[int, Report]]:
        match message:
            case ("ask",):
                worker.waits = worker.is_ready = True
            case ("report", position, found):
                del worker.held[position]
                yield position, found
            case ("warning", text) if text not in self._warned:
                self._warned.add(text)
                warnings.warn(text, HfsrWarning, stacklevel=2)

    def _hand_out(self) -> None:
        """Gives jobs to the workers that wait: first to those without one.

        A second job, which a worker decodes ahead, is given only while every worker could get one.
        """
        for worker in sorted((each for each in self._workers if each.waits), key=lambda each: len(each.held)):
            if not self._queue or (worker.held and len(self._queue) < len(self._workers)):
                continue
            position, job = self._queue.popleft()
            worker.held[position], worker.waits = job, False
            _send(worker, (position, job))

    def _start(self, device: str | None) -> None:
        import torch.multiprocessing

        context = torch.multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._setting, device), daemon=True)
        with _interrupts_ignored():  # by the worker: Ctrl-C reaches this process, which then ends the workers
            process.start()
        theirs.close()  # the end of the worker is then the end of the connection
        self._workers.append(_Worker(process, ours, device))

    def _lose(self, worker: _Worker) -> Iterator[tuple[int, Report]]:
        """Fails the jobs of a lost worker, and starts another one if this one had started."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        held = list(worker.held.items())
        remove_unfinished(job for _, job in held)
        yield from self._fail(held, f"its process was lost ({_reason(worker.process.exitcode)})")
        if worker.is_ready and self._queue:
            self._start(worker.device)

    def _fail(self, jobs: Sequence[NumberedJob], reason: str) -> Iterator[tuple[int, Report]]:
        for position, job in jobs:
            text = f"'{job.source}': {reason}; repeat the command with --skip-existing"
            yield position, failed_report(job, text)


def _send(worker: _Worker, message: NumberedJob | None) -> None:
    with suppress(OSError):  # it has ended: the next `recv` detects that
        worker.connection.send(message)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignores SIGINT in the block, and in the processes that start in it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name + (", perhaps because memory ran out" if code == -9 else "")
    return f"exit code {code}"


# --- in the worker ---


class _Parent:
    """The connection of a worker to its parent, for several threads.

    Args:
        connection: to the parent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        with self._lock:
            self._connection.send(message)

    def jobs(self) -> Iterator[NumberedJob]:
        """Asks for one job after another; one thread at a time."""
        while True:
            self.send("ask")
            placed = self._connection.recv()
            if placed is None:
                return
            yield placed

    def report(self, position: int, report: Report) -> None:
        self.send("report", position, report)

    @contextmanager
    def warned(self) -> Iterator[None]:
        """Sends the text of each `HfsrWarning` in the block, which the parent prints once."""
        show = warnings.showwarning

        def send(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
            if issubclass(category, HfsrWarning):
                self.send("warning", str(message))
            else:
                show(message, category, *rest, **options)

        warnings.showwarning = send
        try:
            yield
        finally:
            warnings.showwarning = show


def _work(connection: Connection, setting: _Setting, device: str | None) -> None:
    """Main function of a worker: asks for jobs, runs them, sends their reports."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # the parent has downloaded the model: all run the same revision
    import torch

    from hfsr.inference.runtime.memory import fix_planned_memory

    torch.set_num_threads(setting.threads)
    fix_planned_memory(setting.memory)
    changes = {"device": device, "local_processes": setting.processes, "quiet": True, "is_shared": True}
    args = argparse.Namespace(**{**vars(setting.args), **changes})
    parent = _Parent(connection)
    try:
        with stoppable(), parent.warned():
            run_jobs(Models(args), parent.jobs(), args, parent.report)
    except Terminated as stop:
        sys.exit(128 + stop.signal)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent was killed
        sys.exit(1)
