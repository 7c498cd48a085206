"""Second tab: upscales an image by zero-shot super-resolution, without a pretrained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import jobs, limits
from .widgets import TabWidgets, check_choices, connect_job, image_input, job_buttons, result_widgets

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
IDLE = (
    "<div class='idle'><p><strong>The progress of the training appears here</strong></p>"
    "<p>The loss is the error of the network when it enlarges smaller copies of your image.</p></div>"
)


def build_tab(page: gr.Blocks) -> None:
    """Adds the widgets and events of the tab."""
    gr.Markdown(ABOUT, elem_classes="about")
    with gr.Row(equal_height=False):
        with gr.Column():
            image = image_input("experiments")
            scale = gr.Radio(SCALES, value=2, label="Times larger")
            kind = gr.Radio(list(KINDS.items()), value="bicubic", label="The image is")
            start, stop = job_buttons("Learn and enlarge")
        with gr.Column():
            widgets = TabWidgets(image, start, stop, *result_widgets(IDLE), IDLE)

    def zeroshot(
        image: dict[str, Any] | None, scale: int | str, kind: str
    ) -> Iterator[tuple[Any, Path | None, str]]:
        """Enlarges one image by zero-shot learning; returns (before, after), the PNG, and a report."""
        if isinstance(scale, str) and scale in map(str, SCALES):
            scale = int(scale)  # Gradio announces the choices of the API as strings
        check_choices(scale=(scale, SCALES), kind=(kind, list(KINDS.values())))
        yield from jobs.zeroshot(jobs.uploaded_file(image), scale=int(scale), kind=kind)

    connect_job(page, widgets, zeroshot, [image, scale, kind], api_name="zeroshot")
