"""Files that are whole or absent: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psutil
import torch

from hfsr.errors import CheckpointError

__all__ = ["remove_leftovers", "save_atomically", "write_atomically"]

_MARK = ".partial"  # as files of weights have it (hfsr.checkpoints)


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` on a file beside `path`, flushes it to the disk and renames it to `path`.

    Raises:
        CheckpointError: it cannot be written; what was there before stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{_MARK}")
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


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder and its subfolders.

    Files of processes that live on this machine stay: `hfsr push` may be writing there.
    """
    for leftover in folder.rglob(f".*{_MARK}"):
        if not _is_being_written(leftover):
            leftover.unlink(missing_ok=True)


def _is_being_written(leftover: Path) -> bool:
    """True if the process that a file is named after lives and is older than the file."""
    owner = leftover.name.removesuffix(_MARK).rpartition(".")[2]
    if not owner.isdigit() or int(owner) == os.getpid():
        return False
    try:
        return psutil.Process(int(owner)).create_time() < leftover.stat().st_mtime
    except (psutil.NoSuchProcess, FileNotFoundError, OverflowError):
        return False
