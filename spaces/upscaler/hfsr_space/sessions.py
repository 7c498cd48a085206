"""Identification of visitors, and the limit of one job per visitor.

A browser is identified by the cookie that `middleware` sets, which all its tabs share; a program without
cookies by its Gradio session. Active jobs are read from Gradio's own queue, where finished and canceled jobs
and jobs of disconnected visitors are no longer listed, so no stale state can block a visitor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

COOKIE = "hfsr_visitor"
WORK_QUEUE = "work"
"""Concurrency id of all jobs, so that both tabs share one queue."""
BUSY = "You already have an image in work, here or in another tab; wait for it, or cancel it there."


def has_job(page: gr.Blocks, request: gr.Request) -> bool:
    """Returns True if the visitor of this request has a waiting or running job."""
    queue = page._queue
    visitor = _visitor_id(request.cookies, request.session_hash)
    return any(
        event.alive
        and event.concurrency_id == WORK_QUEUE
        and event._id in queue.pending_event_ids_session.get(event.session_hash, ())
        and _visitor_id(event.request.cookies, event.session_hash) == visitor
        for event in list(queue.event_ids_to_events.values())
    )


def mark_canceled(page: gr.Blocks, request: gr.Request) -> None:
    """Marks the jobs of this tab as canceled, so that they no longer count although a tile may still run."""
    for event in list(page._queue.event_ids_to_events.values()):
        if event.concurrency_id == WORK_QUEUE and event.session_hash == request.session_hash:
            event.alive = False


def one_job_validator(page: gr.Blocks) -> Callable[..., Any]:
    """Returns the Gradio validator that rejects a second job of the same visitor, also from programs."""

    def validate(request: gr.Request, *inputs: Any) -> Any:
        first = gr.validate(False, BUSY) if has_job(page, request) else gr.validate(True, "")
        return [first, *(gr.validate(True, "") for _ in inputs[1:])]

    return validate


def _visitor_id(cookies: Mapping[str, str], session: str | None) -> str | None:
    return cookies.get(COOKIE) or session
