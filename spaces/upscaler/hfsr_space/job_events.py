"""Events of the buttons of a tab: a job starts, is canceled, and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event
from typing import Any

import gradio as gr

from .messages import JobProgress, problem, progress_bar, visitor_error
from .sessions import BUSY, WORK_QUEUE, cancel_jobs, has_job, one_job_validator
from .widgets import PAGE_EVENT, TabWidgets

CANCELED = "<p class='canceled'>Canceled.</p>"
"""Report after a job was canceled."""


def connect_job(
    page: gr.Blocks, widgets: TabWidgets, job: Callable[..., Any], inputs: list[Any], choices: list[Any]
) -> None:
    """Connects the buttons of a tab to a job; choosing other images cancels it.

    Args:
        page: page whose queue the job waits in.
        widgets: widgets of the tab.
        job: generator function of (paths of the images, values of `inputs`); yields (results or a skip,
            report).
        inputs: components of its further arguments, in order.
        choices: events by which images are chosen.
    """
    buttons = [widgets.start, widgets.stop]
    cancel_requested = gr.State()  # an `Event` while a job waits or runs

    def update(*, busy: bool) -> list[Any]:
        return [gr.Button(interactive=not busy), gr.Button(interactive=busy)]

    def begin(request: gr.Request, chosen: list[str]) -> list[Any]:
        if has_job(page, request):
            raise visitor_error(BUSY)
        if not chosen:
            raise visitor_error("Choose an image first.")
        return [*update(busy=True), progress_bar(JobProgress("Starting")), Event()]

    def refuse(request: gr.Request, chosen: list[str]) -> str:
        return problem("Choose an image first." if chosen == [] else BUSY)

    def run(canceled: Event, *arguments: Any) -> Iterator[tuple[Any, Any]]:
        """Runs the job until it is canceled; says so itself, after all progress that is on its way."""
        with closing(job(*arguments)) as steps:
            for step in () if canceled.is_set() else steps:
                if canceled.is_set():
                    break
                yield step
        if canceled.is_set():
            yield gr.skip(), CANCELED

    async def cancel(request: gr.Request, canceled: Event | None) -> list[Any]:
        if canceled is None:  # it ended at the same moment
            return [gr.skip()] * 3
        canceled.set()
        # A job that was there enables the start button when it has ended: until then Gradio starts no other.
        is_ending = await cancel_jobs(page, request, [gr.skip(), CANCELED])
        start = gr.skip() if is_ending else gr.Button(interactive=True)
        return [start, gr.Button(interactive=False), CANCELED]

    async def cancel_previous(request: gr.Request, canceled: Event | None) -> list[Any]:
        """Cancels the job of the images that were chosen before."""
        if canceled is None or canceled.is_set():
            return [gr.skip()] * 4
        return [*await cancel(request, canceled), widgets.viewer.example]

    def finish() -> list[Any]:
        return [*update(busy=False), None]

    def fail(canceled: Event | None) -> list[Any]:
        return [*finish(), CANCELED if canceled is not None and canceled.is_set() else ""]

    shown = [*buttons, widgets.report]
    begun = widgets.start.click(begin, widgets.source.chosen, [*shown, cancel_requested], **PAGE_EVENT)
    # Gradio does not show errors of events outside the queue.
    begun.failure(refuse, widgets.source.chosen, widgets.report, **PAGE_EVENT)
    running = begun.success(
        run,
        [cancel_requested, widgets.source.chosen, *inputs],
        [widgets.viewer.data, widgets.report],
        api_visibility="private",
        concurrency_id=WORK_QUEUE,
        concurrency_limit=1,
        validator=one_job_validator(page),
        show_progress="minimal",
        show_progress_on=widgets.report,
    )
    ended = [*buttons, cancel_requested]
    running.success(finish, None, ended, **PAGE_EVENT)
    running.failure(fail, cancel_requested, [*ended, widgets.report], **PAGE_EVENT)
    widgets.stop.click(cancel, cancel_requested, shown, **PAGE_EVENT)
    for choice in choices:
        choice.success(cancel_previous, cancel_requested, [*shown, widgets.viewer.data], **PAGE_EVENT)
