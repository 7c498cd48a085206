"""The training curve as an image: one panel for the losses, and one for each metric of validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..state.file_writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curve"]

Series = dict[str, list[tuple[float, float]]]
"""Points (iteration, value) by name."""

_WIDTH, _HEIGHT, _DPI = 12.0, 4.2, 100
"""Size of a panel in inches."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.85, 0.35, 0.4, 0.5
"""Borders of a panel in inches, for its labels. matplotlib's own layout would double the time to draw."""
_SETTLED = 0.1
"""Share of the run after which values determine the axis limits: the first values would flatten the rest."""
_MARGIN = 0.06
_FEW_POINTS = 60
"""Curves with at most this number of points get markers."""
_NO_LOSS = frozenset({"iter", "lr", "it_per_s"})


def draw_curve(rows: Sequence[Mapping[str, str]], path: Path, *, title: str) -> None:
    """Draws the rows of `training_curve.csv` as a PNG.

    Args:
        rows: rows with `iter`, losses, and `<set>/<metric>`.
        path: path of the PNG; no file is written if there are no values.
        title: title of the panels.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes half a second; runs without validation do not need it

    losses, measured = _series(rows)
    panels = [("losses", losses)] if losses else []
    panels += list(measured.items())
    if not panels:
        return
    height = _HEIGHT * len(panels)
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI)
    figure.subplots_adjust(
        left=_LEFT / _WIDTH,
        right=1 - _RIGHT / _WIDTH,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        hspace=(_TOP + _BOTTOM) / (_HEIGHT - _TOP - _BOTTOM),
    )
    all_axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    last = max(x for _, series in panels for points in series.values() for x, _ in points)
    for axes, (name, series) in zip(all_axes, panels, strict=True):
        axes.set_title(f"{title}: {name}", loc="left")
        _draw_panel(axes, series, last=last, logarithmic=series is losses)
    write_atomically(path, lambda stream: figure.savefig(stream, format="png"))


def _series(rows: Sequence[Mapping[str, str]]) -> tuple[Series, dict[str, Series]]:
    """Returns the points of the losses, and for each metric those of every set."""
    losses: Series = {}
    measured: dict[str, Series] = {}
    for row in rows:
        for name, text in row.items():
            if name in _NO_LOSS or not text or not math.isfinite(float(text)):
                continue
            set_name, slash, metric = name.rpartition("/")
            series = measured.setdefault(metric, {}) if slash else losses
            series.setdefault(set_name if slash else name, []).append((float(row["iter"]), float(text)))
    return losses, measured


def _draw_panel(axes: Axes, series: Series, *, last: float, logarithmic: bool) -> None:
    """Draws one line for each name; losses on a logarithmic axis if all are positive."""
    points = [point for own in series.values() for point in own]
    for name, own in series.items():
        axes.plot(*zip(*own, strict=True), marker="." if len(own) <= _FEW_POINTS else "", label=name)
    settled = [y for x, y in points if x >= _SETTLED * last]
    values = settled if len(settled) > 2 else [y for _, y in points]
    if logarithmic and min(y for _, y in points) > 0:
        axes.set_yscale("log")
        low, high = _limits([math.log10(value) for value in values])
        axes.set_ylim(10**low, 10**high)
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter("{x:.4g}")  # powers of ten with a factor are wider than the border
    else:
        axes.set_ylim(*_limits(values))
    axes.set_xlim(0, max(last, 1))
    axes.set_xlabel("iteration", loc="right")
    axes.grid(color="0.9")
    # Where the curve has left: losses fall, and metrics rise.
    axes.legend(loc="upper right" if logarithmic else "lower right", ncols=len(series))


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Returns the smallest and the largest value with a margin, even if they are equal."""
    low, high = min(values), max(values)
    margin = _MARGIN * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin
