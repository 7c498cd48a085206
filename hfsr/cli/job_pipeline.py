"""Images of one process: the next one is decoded and the last one encoded while the network runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from hfsr.cli.image_progress import printing
from hfsr.cli.input_files import Job, MadeFolders
from hfsr.cli.upscale_job import JobRun, Report
from hfsr.cli.upscale_models import Models

__all__ = ["run_jobs"]


def run_jobs(
    models: Models,
    jobs: Iterator[tuple[int, Job]],
    args: argparse.Namespace,
    report: Callable[[int, Report], None],
) -> None:
    """Runs jobs, at most three at a time: one is decoded, one computed, one encoded.

    Results and reports are those of running them one after another, in this order.

    Args:
        models: the models of the command.
        jobs: position and job each; one is taken while the one before it is computed.
        args: arguments of the command.
        report: receives position and report of each job, as it ends.
    """
    with (
        MadeFolders(keep=args.is_shared) as folders,
        ThreadPoolExecutor(1, "hfsr-decoder") as decoder,
        ThreadPoolExecutor(1, "hfsr-encoder") as encoder,
    ):
        last = _Last(report)
        for position, run in _prepared(decoder, models, jobs, args, last.report_before):
            run.compute(encoder, folders, last.report_if_written)
            last.replace(position, run)
        last.report()


class _Last:
    """The job before the one that is computed, until its result is written."""

    def __init__(self, report: Callable[[int, Report], None]) -> None:
        self._report = report
        self._job: tuple[int, JobRun] | None = None

    def report_if_written(self) -> None:
        if self._job is not None and self._job[1].is_written:
            with printing():
                self.report()

    def report(self) -> None:
        """Waits for the result and reports it."""
        if self._job is not None:
            (position, run), self._job = self._job, None
            self._report(position, run.finish())

    def report_before(self, following: Future[Any]) -> None:
        """Reports the job if its result is written before `following` is done.

        A process that waits for its next job gets none while it has not reported this one.
        """
        if self._job is not None and self._job[1].written is not None:
            wait({self._job[1].written, following}, return_when=FIRST_COMPLETED)
        self.report_if_written()

    def replace(self, position: int, run: JobRun) -> None:
        """Reports the job, and holds the next one unless that is complete too."""
        self.report()
        self._job = (position, run)
        self.report_if_written()


def _prepared(
    decoder: Executor,
    models: Models,
    jobs: Iterator[tuple[int, Job]],
    args: argparse.Namespace,
    before_waiting: Callable[[Future[Any]], None],
) -> Iterator[tuple[int, JobRun]]:
    """Yields jobs with their images decoded and their models loaded.

    Models are loaded while no other thread works: their warnings would be lost to a decoder, which silences
    those of its library.
    """

    def prepare() -> tuple[int, JobRun] | None:
        taken = next(jobs, None)
        if taken is None:
            return None
        run = JobRun(models, taken[1], args)
        run.prepare()
        return taken[0], run

    following: Future[tuple[int, JobRun] | None] = decoder.submit(prepare)
    while True:
        before_waiting(following)
        found = following.result()
        if found is None:
            return
        found[1].load()
        following = decoder.submit(prepare)
        yield found
