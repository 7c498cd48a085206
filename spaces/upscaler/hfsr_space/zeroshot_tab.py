"""Second tab: upscales an image by zero-shot super-resolution, without a pretrained model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from . import jobs, limits
from .job_events import connect_job
from .messages import problem, progress_bar
from .results import Result
from .uploads import uploaded_file
from .viewer import Viewer
from .widgets import (
    TabWidgets,
    check_choices,
    connect_input,
    image_input,
    job_buttons,
    job_report,
)

SCALES = [2, 3, 4]
KINDS = {
    "sharp, reduced on a computer": "bicubic",
    "blurred; estimate how": "estimate",
    "noisy or compressed": "real",
}
ABOUT = f"""**Zero-shot enlargement.** A small network is trained on your image alone: it learns to enlarge
smaller copies of the image, and then enlarges the image itself. This helps for images with repeating patterns
(walls, fabrics, windows), or images that were reduced in an unusual way. For an ordinary photo the first tab
is much faster and usually better. Results have at most {limits.MAX_LEARNED_PIXELS / 1e6:g} million pixels
here; `hfsr zeroshot` has no such limit and more options.
[The paper](https://arxiv.org/abs/1712.06087)"""


def build_tab(page: gr.Blocks) -> TabWidgets:
    """Adds the widgets and events of the tab."""
    gr.Markdown(ABOUT, elem_classes="about")
    with gr.Row(equal_height=False, elem_classes="work"):
        source = image_input("experiments", several=False)
        with gr.Column(elem_classes="controls"):
            scale = gr.Radio(SCALES, value=2, label="Times larger")
            kind = gr.Radio(list(KINDS.items()), value="bicubic", label="The image is")
            start, stop = job_buttons("Learn and enlarge")
            report = job_report()
    widgets = TabWidgets(source, start, stop, report, Viewer())

    def learn(chosen: list[str], scale: Any, kind: str) -> Iterator[tuple[Any, str]]:
        try:
            scale = checked(scale, kind)
            for step in jobs.zeroshot(uploaded_file(chosen[0]), scale=scale, kind=kind):
                if isinstance(step, Result):
                    yield widgets.viewer.results([step.stored(widgets.viewer.store)]), ""
                else:
                    yield gr.skip(), progress_bar(step)
        except gr.Error as error:
            yield gr.skip(), problem(str(error.message))

    connect_job(page, widgets, learn, [scale, kind], connect_input(widgets))
    return widgets


def checked(scale: Any, kind: str) -> int:
    """Returns the scale if both values are offered, else raises gr.Error."""
    if isinstance(scale, str) and scale in map(str, SCALES):
        scale = int(scale)  # Gradio announces the choices of the API as strings
    check_choices(scale=(scale, SCALES), kind=(kind, list(KINDS.values())))
    return int(scale)
