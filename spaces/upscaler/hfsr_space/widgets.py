"""What both tabs share: a picture given on the left, its result on the right, and the buttons between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hfsr.samples import SAMPLE

from .catalog import HERE
from .messages import refusal
from .sessions import BUSY, WORK, give_up, has_job, one_at_a_time

PRIVATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events that only arrange the page."""


@dataclass(frozen=True)
class Panel:
    """The parts of one tab that `connect` ties together.

    Attributes:
        picture: what the visitor gives.
        start, stop: the buttons.
        comparison, download, report: what the visitor gets.
        idle: what the report says before there is anything to report.
    """

    picture: gr.Image
    start: gr.Button
    stop: gr.Button
    comparison: gr.ImageSlider
    download: gr.DownloadButton
    report: gr.HTML
    idle: str


def ask_picture(name: str) -> gr.Image:
    """Lays out where a picture is dropped, and the examples. The file goes to hfsr as it came."""
    sources: list[Any] = ["upload", "clipboard"]
    picture = gr.Image(
        label="Your picture",
        type="filepath",
        format="png",
        image_mode=None,
        sources=sources,
        height=320,
        buttons=["fullscreen"],
        placeholder="Drop a picture here\nor click to choose one",
        alt_text="The picture you gave",
    )
    samples = [SAMPLE, *sorted((HERE / "examples").glob("*.png"))]
    gr.Examples(
        [[str(path)] for path in samples], picture, label="Or try one of these", elem_id=f"{name}-examples"
    )
    return picture


def buttons(start: str) -> tuple[gr.Button, gr.Button]:
    """Lays out the button that starts a job, and the one that cancels it."""
    with gr.Row(elem_classes="buttons"):
        return (
            gr.Button(start, variant="primary", size="lg", scale=3, min_width=120),
            gr.Button("Cancel", interactive=False, size="lg", scale=1, min_width=90),
        )


def show(idle: str) -> tuple[gr.ImageSlider, gr.DownloadButton, gr.HTML]:
    """Lays out what the visitor gets: comparison, report, download."""
    comparison = gr.ImageSlider(
        label="Before | after",
        format="png",
        buttons=["fullscreen"],
        max_height=520,
        elem_classes="comparison",
        visible=False,
    )
    report = gr.HTML(idle, label="Report", elem_classes="report", container=True, padding=True)
    download = gr.DownloadButton("Download PNG", variant="primary", size="lg", visible=False)
    return comparison, download, report


def connect(
    page: gr.Blocks, panel: Panel, job: Callable[..., Any], inputs: list[Any], *, api_name: str
) -> None:
    """Says what the buttons do. Whatever a visitor or a program sends passes `job`.

    Args:
        page: whose queue the jobs wait in.
        panel: the parts of the tab.
        job: the handler, a generator of (comparison, PNG, report).
        inputs: its arguments, in order.
        api_name: what programs call it.
    """
    arranged = [panel.start, panel.stop, panel.comparison, panel.download]

    def arrange(*, busy: bool, done: bool = False) -> list[Any]:
        return [
            gr.Button(interactive=not busy),
            gr.Button(interactive=busy),
            gr.ImageSlider(visible=done),
            gr.DownloadButton(visible=done),
        ]

    def begin(request: gr.Request) -> list[Any]:
        if has_job(page, request):
            raise refusal(BUSY)
        return arrange(busy=True)

    def idle(request: gr.Request) -> list[Any]:
        give_up(page, request)
        return [*arrange(busy=False), panel.idle]

    begun = panel.start.click(begin, None, arranged, **PRIVATE)
    # Errors of events that do not wait in the queue are not shown by gradio; programs hear the validator's.
    begun.failure(lambda: f"<p><strong>Not begun</strong></p><p>{BUSY}</p>", None, panel.report, **PRIVATE)
    running = begun.success(
        job,
        inputs,
        [panel.comparison, panel.download, panel.report],
        api_name=api_name,
        concurrency_id=WORK,
        concurrency_limit=1,
        validator=one_at_a_time(page),
        preprocess=False,  # the file as it came: hfsr says better than gradio what is wrong with it
        show_progress="minimal",
        show_progress_on=panel.report,
    )
    running.success(lambda: arrange(busy=False, done=True), None, arranged, **PRIVATE)
    running.failure(idle, None, [*arranged, panel.report], **PRIVATE)
    panel.stop.click(idle, None, [*arranged, panel.report], cancels=running, **PRIVATE)


def check_offered(**chosen: tuple[Any, list[Any]]) -> None:
    """Raises gr.Error where a value is none of those allowed; gradio does not look."""
    for name, (value, allowed) in chosen.items():
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            raise refusal(f"{name} '{value}' is not offered; choose one of {', '.join(map(str, allowed))}")
