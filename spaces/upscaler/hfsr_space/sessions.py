"""Identification of visitors, and the limit of one job per visitor.

A browser is identified by the cookie that `middleware` sets, which all its tabs share; a program without
cookies by its Gradio session. Active jobs are read from Gradio's own queue, where finished and canceled jobs
and jobs of disconnected visitors are no longer listed, so no stale state can block a visitor.

The page cancels by `cancel_jobs`, not by Gradio's `cancels`: that one runs the failure events of the canceled
job too, at an unknown moment, and does nothing for a job whose request has not arrived yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage

COOKIE = "hfsr_visitor"
WORK_QUEUE = "work"
"""Concurrency id of all jobs, so that both tabs share one queue."""
BUSY = "You already have an image in work, here or in another tab; wait for it, or cancel it there."


_canceled: WeakSet[Any] = WeakSet()
"""Gradio's events of jobs that were canceled and end with their present tile."""


def has_job(page: gr.Blocks, request: gr.Request) -> bool:
    """Returns True if the visitor of this request has a waiting or running job that was not canceled."""
    visitor = _visitor_id(request.cookies, request.session_hash)
    return any(
        event not in _canceled and _visitor_id(event.request.cookies, event.session_hash) == visitor
        for event in _active_jobs(page)
    )


async def cancel_jobs(page: gr.Blocks, request: gr.Request, outputs: list[Any]) -> bool:
    """Ends the waiting jobs of this tab; running ones no longer count although a tile may still run.

    Args:
        page: page whose queue the jobs are in.
        request: request of the tab.
        outputs: values that a waiting job ends with. Without them the page would empty its outputs.

    Returns:
        True if a job was there, which reports its end to the page.
    """
    queue = page._queue
    jobs = [event for event in _active_jobs(page) if event.session_hash == request.session_hash]
    for event in jobs:
        _canceled.add(event)
        if event in queue.event_queue_per_concurrency_id[WORK_QUEUE].queue:
            await queue.remove_from_queue(event._id)
            end = ProcessCompletedMessage(output={"data": outputs}, success=True, event_id=event._id)
            queue.pending_messages_per_session[event.session_hash].put_nowait(end)
    return bool(jobs)


def one_job_validator(page: gr.Blocks) -> Callable[..., Any]:
    """Returns the Gradio validator that rejects a second job of the same visitor, also from programs."""

    def validate(request: gr.Request, *inputs: Any) -> Any:
        first = gr.validate(False, BUSY) if has_job(page, request) else gr.validate(True, "")
        return [first, *(gr.validate(True, "") for _ in inputs[1:])]

    return validate


def _active_jobs(page: gr.Blocks) -> list[Any]:
    """Returns Gradio's events of all waiting and running jobs."""
    queue = page._queue
    return [
        event
        for event in list(queue.event_ids_to_events.values())
        if event.alive
        and event.concurrency_id == WORK_QUEUE
        and event._id in queue.pending_event_ids_session.get(event.session_hash, ())
    ]


def _visitor_id(cookies: Mapping[str, str], session: str | None) -> str | None:
    return cookies.get(COOKIE) or session
