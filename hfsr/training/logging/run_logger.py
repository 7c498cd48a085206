"""What a run tells: a log file, lines and a progress bar in the terminal, a curve as CSV, trackers."""

from __future__ import annotations

import csv
import io
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from ..state.file_writing import write_atomically
from .curve_plot import draw_curve

__all__ = ["Curve", "RunLogger", "duration"]

logger = logging.getLogger("hfsr")


class Curve:
    """`training_curve.csv`: a row per report, columns as they turn up.

    Args:
        path: the file; rows that a stopped run left after iteration `upto` are dropped.
        upto: iterations done.
    """

    def __init__(self, path: Path, *, upto: int) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [{k: v for k, v in row.items() if k and v} for row in csv.DictReader(stream)]
            self.rows = [row for row in rows if row.get("iter", "").isdigit() and int(row["iter"]) <= upto]

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds values to the row of an iteration and writes the file anew."""
        shown = {key: f"{value:.9g}" for key, value in values.items()}
        if self.rows and self.rows[-1]["iter"] == str(iteration):
            self.rows[-1].update(shown)
        else:
            self.rows.append({"iter": str(iteration), **shown})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in self.rows for key in row)))
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, lambda stream: stream.write(text.getvalue().encode()))


class RunLogger:
    """Everything a run tells; only the main process tells anything.

    Args:
        accelerator: says which process this is, and holds the trackers.
        folder: where the log file and the curve lie.
        name: of the run.
        start: iterations done.
        total: iterations in all.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, *, name: str, start: int, total: int) -> None:
        self.accelerator, self.main = accelerator, accelerator.is_main_process
        self.folder, self.name, self.start, self.total = folder, name, start, total
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> RunLogger:
        self._level = logger.level
        if self.main:
            form = logging.Formatter("%(asctime)s %(levelname)s: %(message)s")
            stamp = time.strftime("%Y%m%d_%H%M%S")
            path = self.folder / f"train_{self.name}_{stamp}.log"
            self._handlers = [_LogFile(path, encoding="utf-8"), _AboveTheBar()]
            for handler in self._handlers:
                handler.setFormatter(form)
                logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            self.curve = Curve(self.folder / "training_curve.csv", upto=self.start)
        self._bar = tqdm(
            total=self.total,
            initial=self.start,
            unit="it",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not self.main or not sys.stderr.isatty(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        for handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(self._level)

    def line(self, text: str) -> None:
        """Writes a line to the log."""
        if self.main:
            logger.info(text)

    def step(self) -> None:
        """Moves the bar by one iteration."""
        self._bar.update()

    def beside_the_bar(self, text: str) -> None:
        """Shows what stands beside it."""
        self._bar.set_postfix_str(text)

    def values(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds values to the curve and to the trackers."""
        if self.main:
            self.curve.add(iteration, values)
            self.accelerator.log(dict(values), step=iteration)

    def draw_curve(self) -> None:
        """Draws the curve so far as `training_curve.png`."""
        if self.main:
            draw_curve(self.curve.rows, self.folder / "training_curve.png", title=self.name)


class _LogFile(logging.FileHandler):
    """A log that stops growing when the disk is full, where the training itself may go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        if isinstance(sys.exc_info()[1], OSError):
            self.setLevel(logging.CRITICAL + 1)
        else:
            super().handleError(record)


class _AboveTheBar(logging.StreamHandler[Any]):
    """Lines in the terminal that leave the progress bar whole."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def duration(seconds: float) -> str:
    """As 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
