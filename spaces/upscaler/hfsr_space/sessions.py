"""Who is who, as far as gradio lets one know, so that each visitor has one job at a time.

A browser is known by a cookie that `door` gives it, whichever of its tabs asks; a program without cookies by
its session. Which jobs there are is read from gradio's own queue: what has ended, was cancelled, or has lost
its visitor is gone from there, so that no slot is held by a ghost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

COOKIE = "hfsr_visitor"
WORK = "work"
"""The line in which all jobs wait, of whatever kind."""
BUSY = "You have a picture in work already, here or in another tab; wait for it, or cancel it there."


def has_job(page: gr.Blocks, request: gr.Request) -> bool:
    """Whether the visitor who asks has a job that waits or runs."""
    queue = page._queue
    me = _name(request.cookies, request.session_hash)
    return any(
        event.alive
        and event.concurrency_id == WORK
        and event._id in queue.pending_event_ids_session.get(event.session_hash, ())
        and _name(event.request.cookies, event.session_hash) == me
        for event in list(queue.event_ids_to_events.values())
    )


def give_up(page: gr.Blocks, request: gr.Request) -> None:
    """A job that this tab has cancelled counts no more, though the piece at hand may still be computed."""
    for event in list(page._queue.event_ids_to_events.values()):
        if event.concurrency_id == WORK and event.session_hash == request.session_hash:
            event.alive = False


def one_at_a_time(page: gr.Blocks) -> Callable[..., Any]:
    """What gradio asks before it lets a job into the queue, also one from a program."""

    def check(request: gr.Request, *inputs: Any) -> Any:
        first = gr.validate(False, BUSY) if has_job(page, request) else gr.validate(True, "")
        return [first, *(gr.validate(True, "") for _ in inputs[1:])]

    return check


def _name(cookies: Mapping[str, str], session: str | None) -> str | None:
    return cookies.get(COOKIE) or session
