"""Texts for the visitor: progress, durations and errors, as HTML or plain text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

import hfsr
from hfsr.priors import FitProgress

_MAX_POINTS = 60
"""Points of a loss curve; more could not be distinguished at its size."""
_MAX_WINDOW, _MIN_WINDOW = 50, 2
"""Maximum and minimum number of losses that a point of the curve averages; single losses are noisy."""

_CLI_ADVICE = re.compile(r"(^|[\s(])--?[a-z]|kernel file|name a file|pip install|\bhfsr [a-z]")


@contextmanager
def translate_errors(source: Path) -> Iterator[None]:
    """Converts errors of hfsr to errors for the visitor, without the server's upload folder in the text."""
    try:
        yield
    except hfsr.HfsrError as error:
        raise visitor_error(without_cli_advice(str(error)).replace(f"{source.parent}/", "")) from error


def without_cli_advice(message: str) -> str:
    """Removes advice that a visitor of the page cannot follow: options, commands and files of the server."""
    first, *advice = message.split("; ")
    return "; ".join([first, *(text for text in advice if not _CLI_ADVICE.search(text))])


def visitor_error(message: str) -> gr.Error:
    """Returns an error that stays on the page until it is closed and is not logged by the server."""
    return gr.Error(message, duration=None, print_exception=False)


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job.

    Attributes:
        text: the stage, for people.
        fraction: of the work that is done, 0 to 1; None if it is unknown.
        seconds_left: expected time; None if it is unknown.
        drawing: SVG below the bar.
    """

    text: str
    fraction: float | None = None
    seconds_left: float | None = None
    drawing: str = ""

    def __str__(self) -> str:
        left = f", about {format_seconds(self.seconds_left)} left" if self.seconds_left else ""
        return self.text + left


def tile_progress(progress: hfsr.Progress) -> JobProgress:
    """Returns the progress of an upscaling job."""
    if progress.done == progress.total:
        return JobProgress("Writing the file", 1)
    text = f"{progress.done} of {progress.total} parts" if progress.total > 1 else "Working"
    return JobProgress(text, progress.done / progress.total, progress.seconds_left)


def training_progress(step: FitProgress, losses: Sequence[float]) -> JobProgress:
    """Returns the progress of a zero-shot job: stage, time left, and the loss as a number and a curve."""
    if step.loss is None:
        if step.done == step.total:
            return JobProgress("Writing the file", 1)
        return JobProgress(step.stage.capitalize(), step.done / step.total if step.done else None)
    text = f"Learning: step {step.done} of at most {step.total}, loss {step.loss:.4f}"
    return JobProgress(text, step.done / step.total, step.seconds_left, loss_curve(losses))


def loss_curve(losses: Sequence[float]) -> str:
    """Draws the moving average of the losses as an SVG polyline; the lower edge is not zero."""
    step = math.ceil(len(losses) / _MAX_POINTS)
    windows = [losses[max(0, i - _MAX_WINDOW) : i + 1] for i in range(_MIN_WINDOW, len(losses), step)]
    means = [sum(window) / len(window) for window in windows]
    if len(means) < 2 or not any(means):
        return ""
    low, high = 0.9 * min(means), max(means)
    coordinates = [
        (100 * i / (len(means) - 1), 38 - 36 * (mean - low) / (high - low)) for i, mean in enumerate(means)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in coordinates)
    label = f"Loss so far: from {means[0]:.4f} to {means[-1]:.4f}"
    return (
        f'<svg class="curve" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<polyline points="{points}"/></svg>'
    )


def progress_bar(progress: JobProgress, *, index: int = 0, count: int = 1) -> str:
    """Returns a progress bar with a text, which page.js moves on between two updates.

    Args:
        progress: of one image.
        index: number of the image, from 0.
        count: number of all images of the job.
    """
    data = [f'data-end="{(index + 1) / count:.3f}"']
    if progress.fraction is not None:
        data.append(f'data-fraction="{(index + progress.fraction) / count:.3f}"')
    if progress.seconds_left is not None:
        data.append(f'data-left="{progress.seconds_left:.1f}"')
    number = f"{index + 1} of {count}: " if count > 1 else ""
    bar = f'<progress {" ".join(data)} aria-label="Progress"></progress>'
    text = f"<p>{number}{html.escape(progress.text)}<span class='left'></span></p>"
    return bar + text + progress.drawing


def problem(*messages: str) -> str:
    """Returns errors as HTML that screen readers announce."""
    lines = "".join(f"<p>{html.escape(message)}</p>" for message in messages)
    return f'<div class="problem" role="alert">{lines}</div>'


def format_bytes(size: int) -> str:
    """Formats a file size in KB, or in MB from 0.1 MB on."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(size / 1e3, 0.1):.1f} KB"


def format_seconds(seconds: float) -> str:
    """Formats a duration in seconds, or in minutes from 100 s on."""
    if seconds >= 100:
        return f"{round(seconds / 60)} minutes"
    return "1 second" if seconds < 1.5 else f"{round(seconds)} seconds"


def format_size(width: int, height: int) -> str:
    """Formats the size of an image in px."""
    return f"{width} × {height}"
