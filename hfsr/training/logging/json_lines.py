"""`train_log.jsonl`: one JSON object per line and reported iteration, for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..state.file_writing import write_atomically

__all__ = ["JsonLines"]


class JsonLines:
    """Collects the values of an iteration and appends them as one line.

    A line has `iter`, and what that iteration reported: `lr`, `losses`, `it_per_s`, `metrics` (by
    `<set>/<metric>`). Values that are not finite become null.

    Args:
        path: the file; lines after iteration `upto`, which a stopped run wrote, are dropped, as is an
            incomplete line.
        upto: number of finished iterations.
    """

    def __init__(self, path: Path, *, upto: int) -> None:
        self.path = path
        self._pending: dict[str, Any] = {}
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _iteration(line, upto + 1) <= upto]
            if kept != lines:
                write_atomically(path, lambda stream: stream.write("".join(kept).encode()))

    def add(self, iteration: int, values: Mapping[str, Any]) -> None:
        """Adds values to the line of an iteration; mappings under one key are merged."""
        if self._pending.get("iter", iteration) != iteration:
            self.write()
        self._pending["iter"] = iteration
        for key, value in values.items():
            earlier = self._pending.get(key)
            if isinstance(earlier, Mapping) and isinstance(value, Mapping):
                value = {**earlier, **value}
            self._pending[key] = value

    def write(self) -> None:
        """Appends the line, if there are values."""
        if self._pending:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(_finite(self._pending)) + "\n")
            self._pending = {}


def _iteration(line: str, otherwise: int) -> int:
    """Returns the iteration of a line, or another number if the line is incomplete."""
    try:
        return int(json.loads(line)["iter"]) if line.endswith("\n") else otherwise
    except (ValueError, KeyError, TypeError):
        return otherwise


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
