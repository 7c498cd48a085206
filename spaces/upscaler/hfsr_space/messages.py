"""What a visitor is told: progress, times and refusals, as HTML or in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

import hfsr
from hfsr.priors import FitProgress

_POINTS = 60
"""Of a curve: more cannot be told apart at its size."""
_SPAN, _FEWEST = 50, 2
"""Losses that are averaged for a point, at most and at least: one by one they jump with what was drawn."""


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """Tells the visitor what hfsr says about a picture or a model, but not where uploads lie."""
    try:
        yield
    except hfsr.HfsrError as error:
        raise refusal(str(error).replace(f"{source.parent}/", "")) from error


def refusal(message: str) -> gr.Error:
    """An error that is the visitor's: it stays on the page until closed, and out of the server's log."""
    return gr.Error(message, duration=None, print_exception=False)


def pieces_done(piece: hfsr.Progress) -> str:
    """How far an upscaling is."""
    if piece.done == piece.total:
        return bar("Writing the PNG", 1)
    left = f", about {in_words(piece.seconds_left)} left" if piece.seconds_left else ""
    return bar(f"{piece.done} of {piece.total} pieces{left}", piece.done / piece.total)


def learned(step: FitProgress, losses: Sequence[float]) -> str:
    """How far a zero-shot enlargement is: its stage and time, and the loss as a number and a curve."""
    if step.loss is None:
        if step.done == step.total:
            return bar("Writing the PNG", 1)
        return bar(step.stage.capitalize(), step.done / step.total if step.done else None)
    left = f", {in_words(step.seconds_left)} left at most" if step.seconds_left else ""
    said = f"Learning: step {step.done} of at most {step.total}, loss {step.loss:.4f}{left}"
    return bar(said, step.done / step.total) + curve(losses)


def curve(losses: Sequence[float]) -> str:
    """The running mean of the losses as a small line drawing; its lower edge is not zero."""
    step = math.ceil(len(losses) / _POINTS)
    recent = [losses[max(0, i - _SPAN) : i + 1] for i in range(_FEWEST, len(losses), step)]
    means = [sum(part) / len(part) for part in recent]
    if len(means) < 2 or not any(means):
        return ""
    low, high = 0.9 * min(means), max(means)
    places = [
        (100 * i / (len(means) - 1), 38 - 36 * (mean - low) / (high - low)) for i, mean in enumerate(means)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    name = f"Loss so far: from {means[0]:.4f} to {means[-1]:.4f}"
    return (
        f'<svg class="curve" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{name}">'
        f'<polyline points="{points}"/></svg>'
    )


def bar(said: str, part: float | None = None) -> str:
    """A progress bar and what it means; without `part` (0 to 1) it only shows that something goes on."""
    value = "" if part is None else f' value="{part:.3f}"'
    return f'<progress{value} aria-label="Progress"></progress><p>{said}</p>'


def in_words(seconds: float) -> str:
    if seconds >= 100:
        return f"{round(seconds / 60)} minutes"
    return "1 second" if seconds < 1.5 else f"{round(seconds)} seconds"
