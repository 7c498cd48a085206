"""Files that are whole or absent: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from hfsr.atomic import PARTIAL_SUFFIX
from hfsr.errors import CheckpointError

__all__ = ["save_atomically", "write_atomically"]


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` on a file beside `path`, flushes it to the disk and renames it to `path`.

    Raises:
        CheckpointError: it cannot be written; what was there before stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        with beside.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:  # torch.save tells of a full disk by either
        raise CheckpointError(
            f"cannot write '{path}' ({' '.join(str(error).split())}); "
            f"{'the file of before is kept; ' if path.exists() else ''}"
            "free space, then run the command again with --auto_resume"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # makes the new name itself survive a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_atomically(path: Path, content: Any) -> None:
    """torch.save of tensors and plain values."""
    write_atomically(path, lambda stream: torch.save(content, stream))
