"""First tab: enhances an image with a model of the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import jobs
from .catalog import CatalogEntry, ModelCatalog
from .messages import visitor_error
from .widgets import (
    PAGE_EVENT,
    TabWidgets,
    check_choices,
    connect_job,
    image_input,
    job_buttons,
    result_widgets,
)

TILES = {"automatic": "auto", "64 px": "64", "128 px": "128", "256 px": "256", "512 px": "512"}
DTYPES = {"automatic": "auto", "fp32, most exact": "fp32", "bf16, faster": "bf16"}
IDLE = (
    "<div class='idle'><p><strong>Your result appears here</strong></p>"
    "<p>with a slider to compare it with your image, and a button to download it.</p></div>"
)


def build_tab(page: gr.Blocks, catalog: ModelCatalog) -> None:
    """Adds the widgets and events of the tab."""
    with gr.Row(equal_height=False):
        with gr.Column():
            image = image_input("enhance")
            model = model_choice(catalog)
            start, stop = job_buttons("Enhance")
            with gr.Accordion("Advanced", open=False, elem_classes="fold"):
                options = advanced_options(catalog, model)
        with gr.Column():
            widgets = TabWidgets(image, start, stop, *result_widgets(IDLE), IDLE)

    def upscale(
        image: dict[str, Any] | None, model: str, tile: str, dtype: str, self_ensemble: bool, strength: float
    ) -> Iterator[tuple[Any, Path | None, str]]:
        """Enlarges or restores one image; returns (before, after) to compare, the PNG, and a report."""
        check_choices(
            model=(model, list(catalog.by_model)),
            tile=(tile, list(TILES.values())),
            dtype=(dtype, list(DTYPES.values())),
            self_ensemble=(self_ensemble, [False, True]),
        )
        if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
            raise visitor_error(f"strength '{strength}' is not possible; choose a number from 0 to 1")
        yield from jobs.upscale(
            catalog,
            jobs.uploaded_file(image),
            model=model,
            tile=tile,
            dtype=dtype,
            self_ensemble=self_ensemble,
            strength=strength,
        )

    connect_job(page, widgets, upscale, [image, model, *options], api_name="upscale")


def model_choice(catalog: ModelCatalog) -> gr.Dropdown:
    """Adds the choice of a task and of a model for it."""
    first, tasks = catalog.first, catalog.tasks
    task = gr.Radio(tasks, value=first.task, label="What to do", visible=len(tasks) > 1)
    model = gr.Dropdown(catalog.of_task(first.task), value=first.model, label="Model")

    def models_of(task: str) -> gr.Dropdown:
        choices = catalog.of_task(task)
        return gr.Dropdown(choices, value=choices[0][1])

    # The dropdown shows the models of one task, but the API accepts all of them.
    model.api_info = lambda: {"type": "string", "enum": list(catalog.by_model)}  # type: ignore[method-assign]
    task.input(models_of, task, model, **PAGE_EVENT)
    return model


def advanced_options(catalog: ModelCatalog, model: gr.Dropdown) -> list[Any]:
    """Adds tile size, dtype and self-ensemble, and the strength for models with a milder training."""
    strength = _strength_slider(catalog.first)
    model.change(lambda name: _strength_slider(catalog.by_model[name]), model, strength, **PAGE_EVENT)
    return [
        gr.Dropdown(
            list(TILES.items()),
            value="auto",
            label="Tile size",
            info="Smaller tiles need less memory; the result is the same.",
        ),
        gr.Radio(list(DTYPES.items()), value="auto", label="Arithmetic"),
        gr.Checkbox(
            False,
            label="Self-ensemble",
            info="The mean over eight flips and rotations: slightly better, eight times as slow.",
        ),
        strength,
    ]


def _strength_slider(entry: CatalogEntry) -> gr.Slider:
    info = "Between the mild and the sharp training of this model."
    return gr.Slider(0, 1, 1, step=0.05, label="Strength", info=info, visible=entry.mild is not None)
