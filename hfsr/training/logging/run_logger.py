"""Output of a run: log file, lines and progress bar in the terminal, curve as CSV, trackers."""

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
from .json_lines import JsonLines

__all__ = ["Curve", "RunLogger", "duration"]

logger = logging.getLogger("hfsr")


class Curve:
    """`training_curve.csv`: one row per report; new values add columns.

    Args:
        path: the file; rows after iteration `upto`, which a stopped run wrote, are dropped.
        upto: number of finished iterations.
    """

    def __init__(self, path: Path, *, upto: int) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [{k: v for k, v in row.items() if k and v} for row in csv.DictReader(stream)]
            self.rows = [row for row in rows if row.get("iter", "").isdigit() and int(row["iter"]) <= upto]

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds values to the row of an iteration and rewrites the file."""
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
    """Log, progress bar, curve and trackers of a run; only the main process writes.

    Args:
        accelerator: determines the main process, and has the trackers.
        folder: folder of the log file and of the curve.
        name: name of the run.
        start: number of finished iterations.
        total: total number of iterations.
        json_lines: True to write `train_log.jsonl` too.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        folder: Path,
        *,
        name: str,
        start: int,
        total: int,
        json_lines: bool = False,
    ) -> None:
        self.accelerator, self.main = accelerator, accelerator.is_main_process
        self.folder, self.name, self.start, self.total = folder, name, start, total
        self._handlers: list[logging.Handler] = []
        self._writes_json = json_lines
        self._json: JsonLines | None = None

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
            if self._writes_json:
                self._json = JsonLines(self.folder / "train_log.jsonl", upto=self.start)
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
        self.end_report()
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
        """Advances the progress bar by one iteration."""
        self._bar.update()

    def beside_the_bar(self, text: str) -> None:
        """Shows a text at the end of the progress bar."""
        self._bar.set_postfix_str(text)

    def report(self, iteration: int, losses: Mapping[str, float], *, lr: float, it_per_s: float) -> None:
        """Adds losses, learning rate and speed to the curve, the trackers and the JSON line."""
        others = {"lr": lr, "it_per_s": it_per_s}
        self._add(iteration, {**losses, **others}, {"losses": dict(losses), **others})

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds the metrics of a set, by `<set>/<metric>`, likewise."""
        self._add(iteration, values, {"metrics": dict(values)})

    def end_report(self) -> None:
        """Writes the JSON line of the iteration, if it has one."""
        if self._json:
            self._json.write()

    def _add(self, iteration: int, values: Mapping[str, float], grouped: Mapping[str, Any]) -> None:
        if self.main:
            self.curve.add(iteration, values)
            self.accelerator.log(dict(values), step=iteration)
        if self._json:
            self._json.add(iteration, grouped)

    def draw_curve(self) -> None:
        """Draws the curve up to now as `training_curve.png`."""
        if self.main:
            draw_curve(self.curve.rows, self.folder / "training_curve.png", title=self.name)


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk, so that the training can continue."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        if isinstance(sys.exc_info()[1], OSError):
            self.setLevel(logging.CRITICAL + 1)
        else:
            super().handleError(record)


class _AboveTheBar(logging.StreamHandler[Any]):
    """Writes lines to the terminal above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def duration(seconds: float) -> str:
    """Formats a duration like 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
