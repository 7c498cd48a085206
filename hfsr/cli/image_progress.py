"""Progress bars of an image and of a folder, and cleanup of a run that a signal stops."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hfsr.inference import Progress

__all__ = ["FolderProgress", "Terminated", "folder_progress", "printing", "show_progress", "stoppable"]

T = TypeVar("T")

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} pieces{postfix}"


class Terminated(KeyboardInterrupt):
    """Raised when a signal other than SIGINT asks the process to end.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


def show_progress(
    steps: Generator[Progress, None, T],
    *,
    name: str,
    pixels: int,
    quiet: bool,
    between: Callable[[], None] = lambda: None,
) -> T:
    """Runs an image to its end and shows a progress bar with tiles, speed and remaining time.

    Args:
        steps: the result of `Upscaler.steps`, whose return value is returned.
        name: name of the image.
        pixels: pixels of the result, for the speed in megapixels.
        quiet: True to show no bar.
        between: called after each step.
    """
    from tqdm import tqdm

    started = time.monotonic()
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(desc=name, bar_format=_FORMAT, disable=hidden, leave=False) as bar:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            bar.total = step.total
            speed = pixels * step.done / step.total / 1e6 / max(time.monotonic() - started, 1e-9)
            bar.set_postfix_str(f"{speed:.2f} MP/s{_left(step.seconds_left)}", refresh=False)
            bar.update(step.done - bar.n)
            if step.done == step.total:
                bar.refresh()  # visible while the result is written
            between()


@contextmanager
def printing() -> Iterator[None]:
    """Removes progress bars from the terminal while the block prints."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield


class FolderProgress:
    """Progress bar that counts images.

    Args:
        bar: the bar of tqdm.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._started = time.monotonic()
        self._pixels = 0

    def add(self, pixels: int) -> None:
        """Counts an image of so many px."""
        self._pixels += pixels
        speed = self._pixels / 1e6 / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(f"{speed:.2f} MP/s of input", refresh=False)
        self._bar.update()


@contextmanager
def folder_progress(count: int, *, quiet: bool) -> Iterator[FolderProgress]:
    """Shows a progress bar that counts images.

    Args:
        count: number of images.
        quiet: True to show no bar.
    """
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    form = "{n_fmt}/{total_fmt} images|{bar}|{postfix}, {remaining} left"
    with tqdm(total=count, bar_format=form, disable=hidden, leave=False) as bar:
        yield FolderProgress(bar)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes}:{rest:02} left"


@contextmanager
def stoppable() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end a run as Ctrl-C does, so that partial files are removed.

    Raises:
        Terminated: inside the block, when such a signal arrives.
    """
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    numbers = [getattr(signal, name) for name in names]
    before = [(number, signal.signal(number, stop)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
