"""Atomic writing of training files (`hfsr.atomic`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from hfsr.atomic import replacing
from hfsr.errors import CheckpointError

__all__ = ["save_atomically", "write_atomically"]


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` on a temporary file beside `path`, which then replaces `path`.

    Raises:
        CheckpointError: if the file cannot be written; an earlier file at `path` stays.
    """
    kept = "the earlier file is kept; " if path.exists() else ""
    advice = f"{kept}free space, then run the command again with --auto_resume"
    # torch.save reports a full disk by a RuntimeError
    with (
        replacing(path, error=CheckpointError, also=(RuntimeError,), advice=advice) as partial,
        partial.open("wb") as stream,
    ):
        write(stream)


def save_atomically(path: Path, content: Any) -> None:
    """Saves tensors and plain values by `torch.save`.

    Raises:
        CheckpointError: if the file cannot be written; an earlier file at `path` stays.
    """
    write_atomically(path, lambda stream: torch.save(content, stream))
