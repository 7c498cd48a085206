"""Widgets of both tabs: image input, buttons and result, and the events that connect them to a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from hfsr import images
from hfsr.samples import SAMPLE

from .catalog import SPACE_DIR
from .messages import visitor_error
from .sessions import BUSY, WORK_QUEUE, has_job, mark_canceled, one_job_validator

PAGE_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Arguments of events that only update the page."""


@dataclass(frozen=True)
class TabWidgets:
    """Widgets of one tab that `connect_job` uses.

    Attributes:
        image: input image.
        start, stop: buttons.
        comparison, download, report: result.
        idle: text of the report while there is no result.
    """

    image: gr.Image
    start: gr.Button
    stop: gr.Button
    comparison: gr.ImageSlider
    download: gr.DownloadButton
    report: gr.HTML
    idle: str


def image_input(name: str) -> gr.Image:
    """Adds the image input and the examples; Gradio passes the uploaded file on unchanged."""
    sources: list[Any] = ["upload", "clipboard"]
    image = gr.Image(
        label="Your image",
        type="filepath",
        format="png",
        image_mode=None,
        sources=sources,
        height=320,
        buttons=["fullscreen"],
        placeholder="Drop an image here\nor click to choose one",
        alt_text="Your image",
    )
    # Small images first: they take the least time.
    samples = sorted([SAMPLE, *(SPACE_DIR / "examples").glob("*.png")], key=pixel_count)
    gr.Examples(
        [[str(path)] for path in samples], image, label="Or try one of these", elem_id=f"{name}-examples"
    )
    return image


def pixel_count(path: Path) -> int:
    """Returns the number of px of an image file."""
    width, height = images.image_size(path)
    return width * height


def job_buttons(start: str) -> tuple[gr.Button, gr.Button]:
    """Adds the buttons that start and cancel a job."""
    with gr.Row(elem_classes="buttons"):
        return (
            gr.Button(start, variant="primary", size="lg", scale=3, min_width=120),
            gr.Button("Cancel", interactive=False, size="lg", scale=1, min_width=90),
        )


def result_widgets(idle: str) -> tuple[gr.ImageSlider, gr.DownloadButton, gr.HTML]:
    """Adds the widgets of the result: comparison, report and download."""
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


def connect_job(
    page: gr.Blocks, widgets: TabWidgets, job: Callable[..., Any], inputs: list[Any], *, api_name: str
) -> None:
    """Connects the buttons of a tab to a job; requests of programs run the same function.

    Args:
        page: page whose queue the job waits in.
        widgets: widgets of the tab.
        job: generator function that yields (comparison, PNG, report).
        inputs: components of its arguments, in order.
        api_name: name of the API endpoint.
    """
    updated = [widgets.start, widgets.stop, widgets.comparison, widgets.download]
    result = [widgets.comparison, widgets.download, widgets.report]

    def update(*, busy: bool, done: bool = False) -> list[Any]:
        return [
            gr.Button(interactive=not busy),
            gr.Button(interactive=busy),
            gr.ImageSlider(visible=done),
            gr.DownloadButton(visible=done),
        ]

    def begin(request: gr.Request) -> list[Any]:
        if has_job(page, request):
            raise visitor_error(BUSY)
        return update(busy=True)

    def reset(request: gr.Request) -> list[Any]:
        mark_canceled(page, request)
        return [*update(busy=False), widgets.idle]

    def clear() -> list[Any]:
        """Removes a finished result, which belongs to the previous image."""
        return [gr.ImageSlider(visible=False), gr.DownloadButton(visible=False), widgets.idle]

    widgets.image.change(clear, None, result, **PAGE_EVENT)
    begun = widgets.start.click(begin, None, updated, **PAGE_EVENT)
    # Gradio does not show errors of events outside the queue; programs get the validator's message.
    begun.failure(
        lambda: f"<p><strong>Not started</strong></p><p>{BUSY}</p>", None, widgets.report, **PAGE_EVENT
    )
    running = begun.success(
        job,
        inputs,
        result,
        api_name=api_name,
        concurrency_id=WORK_QUEUE,
        concurrency_limit=1,
        validator=one_job_validator(page),
        preprocess=False,  # pass the uploaded file on; hfsr's errors about invalid files are clearer
        show_progress="minimal",
        show_progress_on=widgets.report,
    )
    running.success(lambda: update(busy=False, done=True), None, updated, **PAGE_EVENT)
    running.failure(reset, None, [*updated, widgets.report], **PAGE_EVENT)
    widgets.stop.click(reset, None, [*updated, widgets.report], cancels=running, **PAGE_EVENT)


def check_choices(**chosen: tuple[Any, list[Any]]) -> None:
    """Raises gr.Error if a value is not among the allowed ones, which Gradio does not check."""
    for name, (value, allowed) in chosen.items():
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            raise visitor_error(
                f"{name} '{value}' is not offered; choose one of {', '.join(map(str, allowed))}"
            )
