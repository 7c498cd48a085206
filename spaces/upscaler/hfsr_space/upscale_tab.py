"""First tab: enlarges or cleans images with the models of the catalog."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from . import jobs
from .catalog import PURPOSES, CatalogEntry, ModelCatalog
from .choices import FORMATS, Settings, choose, expected_seconds
from .job_events import connect_job
from .messages import format_seconds, problem, progress_bar, translate_errors, visitor_error
from .results import Result, make_zip
from .uploads import uploaded_file
from .viewer import Viewer, bare_html
from .widgets import (
    PAGE_EVENT,
    TabWidgets,
    check_choices,
    connect_input,
    image_input,
    job_buttons,
    job_report,
)

TILES = {"automatic": "auto", "64 px": "64", "128 px": "128", "256 px": "256", "512 px": "512"}
DTYPES = {"automatic": "auto", "fp32, most exact": "fp32", "bf16, faster": "bf16"}
SCALES = (2, 3, 4)
WIDTH = "width"
"""Choice of a size: a width in px."""
DEFAULT_WIDTH = 1920


def build_tab(page: gr.Blocks, catalog: ModelCatalog) -> TabWidgets:
    """Adds the widgets and events of the tab."""
    with gr.Row(equal_height=False, elem_classes="work"):
        source = image_input("enhance", several=True)
        with gr.Column(elem_classes="controls"):
            inputs = settings_inputs(catalog)
            plan = bare_html("", "plan")
            start, stop = job_buttons("Enhance")
            report = job_report()
    widgets = TabWidgets(source, start, stop, report, Viewer())

    def enhance(chosen: list[str], *values: Any) -> Iterator[tuple[Any, str]]:
        """Runs all chosen images; a result is shown as soon as it is done."""
        results: list[Result] = []
        problems: list[str] = []
        for index, given in enumerate(chosen):
            try:
                path, settings = uploaded_file(given), to_settings(catalog, *values)
                for step in jobs.upscale(catalog, path, settings):
                    if isinstance(step, Result):
                        results.append(step.stored(widgets.viewer.store))
                        yield widgets.viewer.results(results), gr.skip()
                    else:
                        yield gr.skip(), progress_bar(step, index=index, count=len(chosen))
            except gr.Error as error:
                problems.append(str(error.message))
        end = problem(*problems) if problems else ""
        if len(results) < 2:
            yield gr.skip(), end
            return
        with TemporaryDirectory(prefix="hfsr-") as folder:
            archive = make_zip([Path(result.file) for result in results], Path(folder, "enhanced.zip"))
            yield widgets.viewer.results(results, widgets.viewer.store(str(archive))), end

    def show_plan(chosen: list[str], *values: Any) -> str:
        try:
            return describe_plan(
                catalog, [uploaded_file(path) for path in chosen], to_settings(catalog, *values)
            )
        except gr.Error as error:
            return problem(str(error.message))

    chosen = connect_input(widgets)
    connect_job(page, widgets, enhance, inputs, chosen)
    planned: dict[str, Any] = {
        "fn": show_plan,
        "inputs": [source.chosen, *inputs],
        "outputs": plan,
        **PAGE_EVENT,
    }
    for event in chosen:
        event.success(**planned)
    gr.on([each.change for each in inputs], trigger_mode="always_last", **planned)
    return widgets


def to_settings(
    catalog: ModelCatalog,
    model: str,
    size: Any,
    width: Any,
    format: str,
    tile: str,
    dtype: str,
    self_ensemble: bool,
    strength: float,
) -> Settings:
    """Returns the checked settings of the page's inputs.

    Raises:
        gr.Error: a value is not offered.
    """
    check_choices(size=(size, [0, *SCALES, WIDTH]))
    return checked(
        catalog,
        Settings(
            model,
            scale=0 if size == WIDTH else size,
            width=width if size == WIDTH else 0,
            format=format,
            tile=tile,
            dtype=dtype,
            self_ensemble=self_ensemble,
            strength=1 if catalog.strength_labels(model) is None else strength,  # the slider is hidden
        ),
    )


def checked(catalog: ModelCatalog, settings: Settings) -> Settings:
    """Returns the settings if each value is one that the page or the API offers, else raises gr.Error."""
    check_choices(
        model=(settings.model, catalog.names),
        format=(settings.format, list(FORMATS.values())),
        tile=(settings.tile, list(TILES.values())),
        dtype=(settings.dtype, list(DTYPES.values())),
        self_ensemble=(settings.self_ensemble, [False, True]),
    )
    for name, value, limits in (
        ("scale", settings.scale, (1, 4)),
        ("width", settings.width, (1, 30_000)),
        ("strength", settings.strength, (0, 1)),
    ):
        low, high = limits
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_unset = name != "strength" and value == 0
        if not is_number or not (is_unset or low <= value <= high):
            raise visitor_error(f"{name} '{value}' is not possible; choose a number from {low} to {high}")
    if settings.width != int(settings.width):
        raise visitor_error(f"width '{settings.width}' is not possible; choose a whole number of px")
    if settings.scale and settings.width:
        raise visitor_error("scale and width exclude each other; leave one at 0")
    return settings


def describe_plan(catalog: ModelCatalog, sources: Sequence[Path], settings: Settings) -> str:
    """Describes what will be done with the chosen images, why, and how long it takes."""
    lines, seconds = [], 0.0
    for source in sources:
        with translate_errors(source):
            choice = choose(catalog, source, settings)
        expected = expected_seconds(choice.models, choice.image, self_ensemble=settings.self_ensemble)
        seconds += expected or 0
        kind = catalog.label_of("photo" if choice.is_photo else "clean")
        text = f"“{kind}”, because it is a {choice.reason}" if choice.reason else ""
        if choice.note:
            text = "; ".join(filter(None, [text, choice.note]))
        if text and text not in lines:
            lines.append(text)
    if not sources:
        return ""
    time = f"About {format_seconds(seconds)}. " if seconds else ""
    chosen = "Each image gets what suits its file." if len(lines) > 1 else ""
    if len(lines) == 1:
        chosen = f"Chosen: {html.escape(lines[0])}."
    return f"<p>{time}{chosen}</p>"


# --- inputs ---


def settings_inputs(catalog: ModelCatalog) -> list[Any]:
    """Adds the inputs of all settings, in the order of `to_settings`."""
    first, tasks = catalog.first, catalog.tasks
    strength_labels = catalog.strength_labels(first.model)
    task = gr.Radio(tasks, value=first.task, label="What to do", visible=len(tasks) > 1)
    model = _model_input(catalog, first.task)
    size = _size_input(catalog, first)
    width = gr.Number(DEFAULT_WIDTH, label="Width, px", precision=0, minimum=1, visible=False)
    with gr.Column(visible=strength_labels is not None, elem_classes="strength") as strength_field:
        strength = gr.Slider(0, 1, 1, step=0.05, label="Strength")
        ends = bare_html(_ends(strength_labels), "ends")
    with gr.Accordion("More settings", open=False, elem_classes="fold"):
        format = gr.Radio(list(FORMATS.items()), value="png", label="File format")
        tile = gr.Dropdown(
            list(TILES.items()),
            value="auto",
            label="Tile size",
            info="Smaller tiles need less memory; the result is the same.",
        )
        dtype = gr.Radio(list(DTYPES.items()), value="auto", label="Arithmetic")
        ensemble = gr.Checkbox(
            False,
            label="Self-ensemble",
            info="The mean over eight flips and rotations: slightly better, eight times as slow.",
        )
    task.input(lambda task: _model_input(catalog, task), task, model, **PAGE_EVENT)

    def show_model(name: str) -> list[Any]:
        labels = catalog.strength_labels(name)
        field = gr.Column(visible=labels is not None)
        return [_size_input(catalog, catalog.by_model[name]), field, 1, _ends(labels)]

    model.change(show_model, model, [size, strength_field, strength, ends], **PAGE_EVENT)
    size.change(lambda size: gr.Number(visible=size == WIDTH), size, width, **PAGE_EVENT)
    return [model, size, width, format, tile, dtype, ensemble, strength]


def _model_input(catalog: ModelCatalog, task: str) -> gr.Dropdown:
    choices = catalog.of_task(task)
    has_purposes = any(model in PURPOSES for _, model in choices)
    label = "Kind of image" if has_purposes else "Model"
    return gr.Dropdown(choices, value=choices[0][1], label=label, visible=len(catalog.by_model) > 1)


def _size_input(catalog: ModelCatalog, entry: CatalogEntry) -> gr.Radio:
    """Sizes that a choice reaches; for a model, up to its scale."""
    if entry.model in PURPOSES:
        scales, default = list(SCALES), SCALES[0]
    else:
        own = catalog.scale_of(entry.model)
        scales = [scale for scale in SCALES if own is not None and scale <= own]
        default = int(own) if own in scales else 0
    choices: list[tuple[str, Any]] = [(f"{scale}×", scale) for scale in scales]
    if default == 0:
        choices.insert(0, ("As the model gives", 0))
    choices.append(("Fit to a width", WIDTH))
    is_fixed = entry.model not in PURPOSES and catalog.scale_of(entry.model) == 1
    return gr.Radio(choices, value=default, label="Size", visible=not is_fixed)


def _ends(labels: tuple[str, str] | None) -> str:
    """Labels below both ends of the strength."""
    return "".join(f"<span>{html.escape(label)}</span>" for label in labels or ())
