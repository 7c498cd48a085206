"""The second tab: enlarging a picture without any model, by what it holds itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import jobs, limits
from .widgets import Panel, ask_picture, buttons, check_offered, connect, show

SCALES = [2, 3, 4]
KINDS = {
    "sharp; reduced on a computer": "bicubic",
    "blurred; find out how": "estimate",
    "noisy or compressed": "real",
}
ABOUT = f"""**Zero-shot enlargement.** No trained model: a small network learns from your picture alone, by
enlarging smaller copies of it, and then enlarges the picture itself. It pays for pictures that repeat
themselves (walls, fabrics, windows) or that were reduced in an unusual way. For an ordinary photo the first
tab is faster by far, and usually better. Results have at most {limits.MAX_LEARNED_PIXELS / 1e6:g} million
pixels here; `hfsr zeroshot` has no such limit, and more choices.
[The paper](https://arxiv.org/abs/1712.06087)"""
IDLE = (
    "<div class='idle'><p><strong>Watch it learn here</strong></p>"
    "<p>The loss is how far the network is from making a picture out of its own smaller copy.</p></div>"
)


def tab(page: gr.Blocks) -> None:
    """Lays out the tab and says what it does."""
    gr.Markdown(ABOUT, elem_classes="about")
    with gr.Row(equal_height=False):
        with gr.Column():
            picture = ask_picture("experiments")
            scale = gr.Radio(SCALES, value=2, label="Times larger")
            kind = gr.Radio(list(KINDS.items()), value="bicubic", label="The picture is")
            start, stop = buttons("Learn and enlarge")
        with gr.Column():
            panel = Panel(picture, start, stop, *show(IDLE), IDLE)

    def zeroshot(
        image: dict[str, Any] | None, scale: int, kind: str
    ) -> Iterator[tuple[Any, Path | None, str]]:
        """Enlarges one picture by what it holds itself; returns (before, after), the PNG, and a report."""
        check_offered(scale=(scale, SCALES), kind=(kind, list(KINDS.values())))
        yield from jobs.zeroshot(jobs.uploaded(image), scale=scale, kind=kind)

    connect(page, panel, zeroshot, [picture, scale, kind], api_name="zeroshot")
