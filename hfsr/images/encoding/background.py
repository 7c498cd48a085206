"""Encoding of a result in another thread, while the next rows or the next image are computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager

from numpy.typing import NDArray

from hfsr.images.encoding.row_writers import RowWriter

__all__ = ["BackgroundRows"]

_WAITING = 4
"""Calls of `write` whose rows may wait for the encoder."""


class BackgroundRows:
    """Rows of an image, which another thread writes in their order.

    Args:
        executor: one thread; several images may follow each other in it.
        file: yields the writer of the rows, as `open_rows` does.

    Raises:
        ImageError: the file cannot be opened.
    """

    def __init__(self, executor: Executor, file: AbstractContextManager[RowWriter]) -> None:
        self._executor = executor
        self._file = file
        self._writer = file.__enter__()
        self._pending: deque[Future[None]] = deque()

    def write(self, rows: NDArray) -> None:
        """Copies rows for the encoder; waits while too many are pending.

        Raises:
            Exception: rows before could not be written.
        """
        while len(self._pending) >= _WAITING:
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(self._writer.write, rows.copy()))

    def finish(self) -> Future[None]:
        """Returns the future that ends when the file is complete; its error is that of writing it."""
        return self._executor.submit(self._close)

    def abort(self, error: BaseException) -> None:
        """Waits for the encoder and removes the unfinished file.

        Raises:
            ImageError: `error` is one of the system; it is explained.
        """
        wait(self._pending)
        self._file.__exit__(type(error), error, error.__traceback__)

    def _close(self) -> None:
        try:
            for each in self._pending:  # all done: they ran before, in the same thread
                each.result()
        except BaseException as error:
            self._file.__exit__(type(error), error, error.__traceback__)
            raise
        self._file.__exit__(None, None, None)
