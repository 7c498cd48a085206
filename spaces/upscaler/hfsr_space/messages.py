"""Texts for the visitor: progress, durations and errors, as HTML or plain text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def tile_progress(progress: hfsr.Progress) -> str:
    """Formats the progress of an upscaling job."""
    if progress.done == progress.total:
        return progress_bar("Writing the PNG", 1)
    left = f", about {format_seconds(progress.seconds_left)} left" if progress.seconds_left else ""
    return progress_bar(f"{progress.done} of {progress.total} tiles{left}", progress.done / progress.total)


def training_progress(step: FitProgress, losses: Sequence[float]) -> str:
    """Formats the progress of a zero-shot job: stage, time left, and the loss as a number and a curve."""
    if step.loss is None:
        if step.done == step.total:
            return progress_bar("Writing the PNG", 1)
        return progress_bar(step.stage.capitalize(), step.done / step.total if step.done else None)
    left = f", {format_seconds(step.seconds_left)} left at most" if step.seconds_left else ""
    text = f"Learning: step {step.done} of at most {step.total}, loss {step.loss:.4f}{left}"
    return progress_bar(text, step.done / step.total) + loss_curve(losses)


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


def progress_bar(text: str, fraction: float | None = None) -> str:
    """Returns a progress bar with a text; without a fraction (0 to 1) the bar is indeterminate."""
    value = "" if fraction is None else f' value="{fraction:.3f}"'
    return f'<progress{value} aria-label="Progress"></progress><p>{text}</p>'


def format_bytes(size: int) -> str:
    """Formats a file size in KB, or in MB from 0.1 MB on."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(size / 1e3, 0.1):.1f} KB"


def format_seconds(seconds: float) -> str:
    """Formats a duration in seconds, or in minutes from 100 s on."""
    if seconds >= 100:
        return f"{round(seconds / 60)} minutes"
    return "1 second" if seconds < 1.5 else f"{round(seconds)} seconds"
