"""The training curve as an image: losses above, what validation measured below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..state.file_writing import write_atomically

__all__ = ["draw_curve"]

Series = dict[str, list[tuple[float, float]]]
"""Points (iteration, value) by name."""
Place = Callable[[float, float], tuple[float, float]]
"""Iteration and value to px."""

_WIDTH, _PANEL = 1200, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 26, 52, 44
"""px around the axes of a panel."""
_SETTLED = 0.1
"""From this part of the run on values count for the axes: the first ones would flatten all others."""
_FINE = 3
"""Drawn this much larger and reduced, so that lines are smooth."""
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
_INK, _GRID, _PAPER = "#222222", "#e4e4e4", "#ffffff"
_NO_LOSS = frozenset({"iter", "lr", "it_per_s"})


def draw_curve(rows: Sequence[Mapping[str, str]], path: Path, *, title: str) -> None:
    """Draws the rows of `training_curve.csv` as a PNG.

    Args:
        rows: `iter`, losses, and `<set>/<metric>`.
        path: of the image; nothing is written where there is nothing to draw.
        title: above it.
    """
    losses, measured = _series(rows)
    panels = [_Panel(f"{title}: losses", losses, log=True)] if losses else []
    panels += [_Panel(f"{title}: {metric}", series, log=False) for metric, series in measured.items()]
    if not panels:
        return
    last = max(x for panel in panels for points in panel.series.values() for x, _ in points)
    sheet = Image.new("RGB", (_WIDTH * _FINE, _PANEL * _FINE * len(panels)), _PAPER)
    for number, panel in enumerate(panels):
        sheet.paste(panel.drawn(last), (0, number * _PANEL * _FINE))
    small = sheet.resize((_WIDTH, _PANEL * len(panels)), Image.Resampling.LANCZOS)
    write_atomically(path, lambda stream: small.save(stream, "PNG"))


def _series(rows: Sequence[Mapping[str, str]]) -> tuple[Series, dict[str, Series]]:
    """Losses, and by metric the sets it was measured on."""
    losses: Series = {}
    measured: dict[str, Series] = {}
    for row in rows:
        for name, text in row.items():
            if name in _NO_LOSS or not text or not math.isfinite(float(text)):
                continue
            set_name, slash, metric = name.rpartition("/")
            place = measured.setdefault(metric, {}) if slash else losses
            place.setdefault(set_name if slash else name, []).append((float(row["iter"]), float(text)))
    return losses, measured


@dataclass(frozen=True)
class _Panel:
    """One pair of axes."""

    title: str
    series: Series
    log: bool
    """Logarithmic values; needs positive ones, else it is linear."""

    def drawn(self, last: float) -> Image.Image:
        """The panel; what lies outside its axes is cut."""
        sheet = Image.new("RGB", (_WIDTH * _FINE, _PANEL * _FINE), _PAPER)
        draw = ImageDraw.Draw(sheet)
        points = [point for points in self.series.values() for point in points]
        late = [y for x, y in points if x >= _SETTLED * last]
        values = late if len(late) > 2 else [y for _, y in points]
        log = self.log and min(y for _, y in points) > 0
        low, high, ticks = _log_axis(values) if log else _linear_axis(values)
        left, right, upper, lower = _LEFT, _WIDTH - _RIGHT, _TOP, _PANEL - _BOTTOM

        def at(x: float, y: float) -> tuple[float, float]:
            y = math.log10(y) if log else y
            across = left + (right - left) * x / max(last, 1)
            return across * _FINE, (lower - (lower - upper) * (y - low) / (high - low)) * _FINE

        steps = list(_round_steps(0, max(last, 1), 8))
        across = [at(step, values[0])[0] for step in steps]
        heights = [at(0, tick)[1] for tick in ticks]
        for x in across:
            draw.line([(x, upper * _FINE), (x, lower * _FINE)], _GRID, _FINE)
        for y in heights:
            draw.line([(left * _FINE, y), (right * _FINE, y)], _GRID, _FINE)
        self._lines(draw, at)
        for edges in ((0, upper), (lower, _PANEL)):
            draw.rectangle((0, edges[0] * _FINE, _WIDTH * _FINE, edges[1] * _FINE), _PAPER)
        font, bold = ImageFont.load_default(14 * _FINE), ImageFont.load_default(18 * _FINE)
        for step, x in zip(steps, across, strict=True):
            draw.text((x, (lower + 8) * _FINE), f"{step:,.0f}", _INK, font, "ma")
        for tick, y in zip(ticks, heights, strict=True):
            draw.text((left * _FINE - 8 * _FINE, y), f"{tick:.6g}", _INK, font, "rm")
        draw.line([(left * _FINE, lower * _FINE), (right * _FINE, lower * _FINE)], _INK, _FINE)
        draw.text((left * _FINE, 14 * _FINE), self.title, _INK, bold, "la")
        draw.text((right * _FINE, (lower + 26) * _FINE), "iteration", _INK, font, "ra")
        self._legend(draw, font, end=right * _FINE, y=16 * _FINE)
        return sheet

    def _colors(self) -> list[tuple[str, str]]:
        """Names and their colors."""
        return [(name, _COLORS[n % len(_COLORS)]) for n, name in enumerate(self.series)]

    def _lines(self, draw: ImageDraw.ImageDraw, at: Place) -> None:
        for name, color in reversed(self._colors()):
            places = [at(*point) for point in self.series[name]]
            if len(places) > 1:
                draw.line(places, color, 2 * _FINE, "curve")
            if len(places) <= 60:
                for x, h in places:
                    draw.ellipse((x - 3 * _FINE, h - 3 * _FINE, x + 3 * _FINE, h + 3 * _FINE), color)

    def _legend(self, draw: ImageDraw.ImageDraw, font: Any, *, end: float, y: float) -> None:
        for name, color in reversed(self._colors()):
            draw.text((end, y), name, _INK, font, "ra")
            end -= draw.textlength(name, font)
            middle = y + 9 * _FINE
            draw.line([(end - 30 * _FINE, middle), (end - 8 * _FINE, middle)], color, 3 * _FINE)
            end -= 48 * _FINE


def _linear_axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    return low, high, list(_round_steps(low, high, 6))


def _log_axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Bounds as logarithms, ticks as values."""
    low, high, _ = _linear_axis([math.log10(value) for value in values])
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= math.log10(f * 10.0**d) <= high]
        if len(ticks) >= 3:
            return low, high, ticks
    return low, high, list(_round_steps(10**low, 10**high, 5))


def _round_steps(low: float, high: float, count: int) -> Iterator[float]:
    """About `count` round numbers between two."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    number = math.ceil(low / step - 1e-9)
    while number * step <= high * (1 + 1e-12) + 1e-12:
        yield number * step
        number += 1
