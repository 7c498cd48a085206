"""Target path of a new file: check that it can be written, and atomic writing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hfsr.atomic import replacing
from hfsr.errors import ImageError

__all__ = ["check_place", "open_new", "place_of"]


@contextmanager
def open_new(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yields a new file, which replaces `path` if the block ends without an exception, else is removed.

    A symbolic link stays: the file behind it is replaced.

    Raises:
        ImageError: the path cannot be written (no such folder, a folder, no permission, disk full).
    """
    path = Path(path)
    check_place(path)
    place = place_of(path)
    with replacing(place, error=ImageError, sync=False) as partial, partial.open("w+b") as file:
        yield file


def place_of(path: Path) -> Path:
    """Returns the path of the file that is written: the one behind a symbolic link, else `path` itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


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
    path = place_of(path)
    if not path.parent.is_dir():
        raise ImageError(f"'{path}' cannot be written: there is no folder '{path.parent}'; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ImageError(f"'{path}' cannot be written (Permission denied); choose another folder")
