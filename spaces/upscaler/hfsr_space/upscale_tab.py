"""The first tab: a model of the menu enlarges or restores a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import jobs
from .catalog import Menu, Offer
from .messages import refusal
from .widgets import PRIVATE, Panel, ask_picture, buttons, check_offered, connect, show

TILES = {"automatic": "auto", "64 px": "64", "128 px": "128", "256 px": "256", "512 px": "512"}
DTYPES = {"automatic": "auto", "fp32, most exact": "fp32", "bf16, faster": "bf16"}
IDLE = (
    "<div class='idle'><p><strong>Your result appears here</strong></p>"
    "<p>with a slider to compare it with the picture you gave, and a button to download it.</p></div>"
)


def tab(page: gr.Blocks, menu: Menu) -> None:
    """Lays out the tab and says what it does."""
    with gr.Row(equal_height=False):
        with gr.Column():
            picture = ask_picture("enhance")
            model = ask_model(menu)
            start, stop = buttons("Enhance")
            with gr.Accordion("Advanced", open=False, elem_classes="fold"):
                choices = ask_advanced(menu, model)
        with gr.Column():
            panel = Panel(picture, start, stop, *show(IDLE), IDLE)

    def upscale(
        image: dict[str, Any] | None, model: str, tile: str, dtype: str, self_ensemble: bool, strength: float
    ) -> Iterator[tuple[Any, Path | None, str]]:
        """Enlarges or restores one picture; returns (before, after) to compare, the PNG, and a report."""
        check_offered(
            model=(model, list(menu.by_model)),
            tile=(tile, list(TILES.values())),
            dtype=(dtype, list(DTYPES.values())),
            self_ensemble=(self_ensemble, [False, True]),
        )
        if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
            raise refusal(f"strength '{strength}' is not possible; choose a number from 0 to 1")
        yield from jobs.upscale(
            menu,
            jobs.uploaded(image),
            model=model,
            tile=tile,
            dtype=dtype,
            self_ensemble=self_ensemble,
            strength=strength,
        )

    connect(page, panel, upscale, [picture, model, *choices], api_name="upscale")


def ask_model(menu: Menu) -> gr.Dropdown:
    """Lays out the tasks, and the models of the one that is chosen."""
    first, tasks = menu.first, menu.tasks
    task = gr.Radio(tasks, value=first.task, label="What to do", visible=len(tasks) > 1)
    model = gr.Dropdown(menu.of_task(first.task), value=first.model, label="Model")

    def models_of(task: str) -> gr.Dropdown:
        choices = menu.of_task(task)
        return gr.Dropdown(choices, value=choices[0][1])

    task.input(models_of, task, model, **PRIVATE)
    return model


def ask_advanced(menu: Menu, model: gr.Dropdown) -> list[Any]:
    """Lays out tile, dtype, self-ensemble, and the strength of models that have one."""
    same = "Smaller pieces take less memory; the result is the same."
    eight = "The mean of eight flips: a little better, eight times as long."
    strength = _strength(menu.first)
    model.change(lambda name: _strength(menu.by_model[name]), model, strength, **PRIVATE)
    return [
        gr.Dropdown(list(TILES.items()), value="auto", label="Piece size", info=same),
        gr.Radio(list(DTYPES.items()), value="auto", label="Arithmetic"),
        gr.Checkbox(False, label="Self-ensemble", info=eight),
        strength,
    ]


def _strength(offer: Offer) -> gr.Slider:
    info = "Between the gentle training of this model and the sharp one."
    return gr.Slider(0, 1, 1, step=0.05, label="Strength", info=info, visible=offer.mild is not None)
