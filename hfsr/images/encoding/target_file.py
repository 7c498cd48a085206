"""Target path of a new file: check that it can be written, atomic writing, and files of killed processes."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hfsr.errors import ImageError

__all__ = ["check_place", "remove_abandoned", "replacing"]

_SUFFIX = ".part"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yields a new file in the folder of `path`, which replaces `path` on success, else is removed.

    Raises:
        ImageError: the path cannot be written (no such folder, a folder, no permission, disk full).
    """
    path = Path(path)
    check_place(path)
    # a unique name, so that two runs with one target do not collide; short, because the length is limited
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.{_machine()}-{os.getpid()}{_SUFFIX}")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"'{path}' cannot be written ({reason}); check permissions and free space"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Removes the unfinished files of killed processes in a folder, as far as these ran on this machine.

    Files of living processes stay, and those in subfolders.
    """
    for part in folder.glob(f".*.{_machine()}-*{_SUFFIX}"):
        if not _is_being_written(part):
            part.unlink(missing_ok=True)


def _machine() -> str:
    """Returns a short name of this machine: a folder may be shared, and numbers of processes repeat."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _is_being_written(part: Path) -> bool:
    """Returns True if the process that a file is named after is alive and older than the file."""
    import psutil  # not at the top, because writing does not need it

    owner = part.name.removesuffix(_SUFFIX).rpartition("-")[2]
    if not owner.isdigit():
        return True
    try:
        process = psutil.Process(int(owner))
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < part.stat().st_mtime + 1
    except (psutil.NoSuchProcess, FileNotFoundError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


def check_place(path: Path) -> None:
    """Raises ImageError before the work if no file can be written: a folder, a device, no permission."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _check_folder(path)
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"'{path}' cannot be written ({reason}); choose another path") from error
    if stat.S_ISDIR(kind):
        raise ImageError(f"'{path}' is a folder; name a file in it")
    if not stat.S_ISREG(kind):
        raise ImageError(f"'{path}' is a device or a pipe; name a file")
    if not kind & 0o222:
        raise ImageError(f"'{path}' exists and is write-protected; choose another path, or unprotect it")
    _check_folder(path)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ImageError(f"'{path}' cannot be written: there is no folder '{path.parent}'; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ImageError(f"'{path}' cannot be written (Permission denied); choose another folder")
