"""Widgets of both tabs: image input, buttons, progress and result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from hfsr import images
from hfsr.samples import SAMPLE

from . import limits
from .catalog import SPACE_DIR
from .messages import problem, visitor_error
from .uploads import check_image, rows, uploaded_file
from .viewer import Viewer, bare_html, keep

PAGE_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Arguments of events that only update the page."""
FILE_TYPES = ["image", *sorted(images.SUFFIXES)]
NAMES = {"cat": "Cat", "coffee": "Coffee", "sample": "Drawing"}
"""Names of the example images."""


@dataclass(frozen=True)
class ImageInput:
    """Widgets with which a visitor chooses images.

    Attributes:
        chosen: paths of the chosen images.
        drop: area for dropping files, while nothing is chosen.
        rows: list of the chosen images.
        again: button for other images.
        note: errors about files that were refused.
        examples: buttons, by the path of their image in Gradio's folder.
        start_area: widgets that are shown while nothing is chosen.
    """

    chosen: gr.State
    drop: gr.File
    rows: gr.HTML
    again: gr.UploadButton
    note: gr.HTML
    examples: dict[Path, gr.Button]
    start_area: gr.Column

    @property
    def updated(self) -> list[Any]:
        """Components that `show` updates."""
        return [self.chosen, self.drop, self.again, self.rows, self.note, self.start_area]

    def show(self, sources: Sequence[Path], refused: Sequence[str] = ()) -> list[Any]:
        """Returns the updates that show these images as chosen."""
        is_empty = not sources
        return [
            [str(source) for source in sources],
            gr.File(value=None),
            gr.UploadButton(value=None, visible=not is_empty),
            rows(sources),
            problem(*refused) if refused else "",
            gr.Column(visible=is_empty),
        ]


@dataclass(frozen=True)
class TabWidgets:
    """Widgets of one tab that its events use.

    Attributes:
        source: image input.
        start, stop: buttons.
        report: progress and errors.
        viewer: results.
    """

    source: ImageInput
    start: gr.Button
    stop: gr.Button
    report: gr.HTML
    viewer: Viewer


def samples() -> list[Path]:
    """Returns the example images; small ones, which take the least time, come first."""
    return sorted([SAMPLE, *(SPACE_DIR / "examples").glob("*.png")], key=pixel_count)


def pixel_count(path: Path) -> int:
    """Returns the number of px of an image file."""
    width, height = images.image_size(path)
    return width * height


def image_input(name: str, *, several: bool) -> ImageInput:
    """Adds the image input and the examples.

    Args:
        name: prefix of the ids on the page.
        several: more than one image may be chosen.
    """
    count: Any = "multiple" if several else "single"
    noun = "images" if several else "an image"
    with gr.Column(elem_id=f"{name}-input", elem_classes="image-input"):
        with gr.Column() as start_area:
            drop = gr.File(
                label=f"Drop {noun} here, paste or choose",
                file_count=count,
                file_types=FILE_TYPES,
                height=180,
                elem_classes="drop",
            )
            bare_html("<p>Or try one of these</p>", "examples-title")
            with gr.Row(elem_classes="examples"):
                copies = [Path(keep(drop, path)) for path in samples()]
                examples = {
                    path: gr.Button(NAMES.get(path.stem, path.stem), icon=str(path), min_width=90)
                    for path in copies
                }
        listed = bare_html("", "chosen")
        again = gr.UploadButton(
            f"Other {noun}" if several else "Another image",
            file_count=count,
            file_types=FILE_TYPES,
            visible=False,
            size="md",
            elem_classes="again",
        )
        note = bare_html("", "refused")
    return ImageInput(gr.State([]), drop, listed, again, note, examples, start_area)


def job_buttons(start: str) -> tuple[gr.Button, gr.Button]:
    """Adds the buttons that start and cancel a job."""
    with gr.Row(elem_classes="buttons"):
        return (
            gr.Button(start, variant="primary", size="lg", scale=3, min_width=120),
            gr.Button("Cancel", interactive=False, size="lg", scale=1, min_width=90),
        )


def job_report() -> gr.HTML:
    """Adds the place for progress and errors."""
    return bare_html("", "report")


def connect_input(widgets: TabWidgets) -> list[Any]:
    """Connects the image input: new images replace the former ones and their results.

    Returns:
        The events, to which others can be chained.
    """
    source, viewer = widgets.source, widgets.viewer
    updated = [*source.updated, widgets.report, viewer.data]

    def choose(files: Any) -> list[Any]:
        good, refused = [], []
        for file in (files if isinstance(files, list) else [files])[: limits.MAX_IMAGES]:
            try:
                path = uploaded_file(file)
                check_image(path)
                good.append(path)
            except gr.Error as error:
                refused.append(str(error.message))
        if isinstance(files, list) and len(files) > limits.MAX_IMAGES:
            refused.append(f"Only the first {limits.MAX_IMAGES} images were taken.")
        return [*source.show(good, refused), "", viewer.example]

    def choose_example(path: Path) -> Callable[[], list[Any]]:
        return lambda: choose(str(path))

    uploads = [
        widget.upload(choose, widget, updated, preprocess=False, **PAGE_EVENT)
        for widget in (source.drop, source.again)
    ]
    clicks = [
        button.click(choose_example(path), None, updated, **PAGE_EVENT)
        for path, button in source.examples.items()
    ]
    return uploads + clicks


def check_choices(**chosen: tuple[Any, list[Any]]) -> None:
    """Raises gr.Error if a value is not among the allowed ones, which Gradio does not check."""
    for name, (value, allowed) in chosen.items():
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            raise visitor_error(
                f"{name} '{value}' is not offered; choose one of {', '.join(map(str, allowed))}"
            )
