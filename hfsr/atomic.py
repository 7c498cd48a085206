"""Atomic file writing: a file is complete or absent, also after a crash or a power cut."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfsr.errors import HfsrError

__all__ = ["PARTIAL_SUFFIX", "remove_partial_files", "replacing"]

PARTIAL_SUFFIX = ".partial"
_OWNER = re.compile(r"\.(?:([0-9a-f]{6})-)?([0-9]+)\.partial$")
"""Machine (missing in files of hfsr 0.1) and process that end the name of a temporary file."""


@contextmanager
def replacing(
    path: str | os.PathLike[str],
    *,
    error: type[HfsrError] = HfsrError,
    also: tuple[type[Exception], ...] = (),
    advice: str = "check permissions and free space",
    sync: bool = True,
) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` if the block ends without an exception.

    The temporary file is removed if the block fails; a file that was at `path` before then stays as it was.

    Args:
        path: the file to write; its folder must exist.
        error: type of the exception raised if the file cannot be written.
        also: exceptions other than OSError by which a library reports a failed write.
        advice: end of the error message.
        sync: flushes the file to the disk before it is renamed, so that it survives a power cut. Takes
            milliseconds, which is too much for one of thousands of small images.

    Raises:
        HfsrError: of type `error`, if the file cannot be written.
    """
    path = Path(path)
    # Random, since two threads may write the same target; short, since names have a maximum length. It ends
    # with the machine and the process, so that cleaning a folder spares the files of living processes.
    owner = f"{_machine()}-{os.getpid()}"
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.{owner}{PARTIAL_SUFFIX}")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # from the umask; safetensors removes the read permission of others
        yield partial
        partial.chmod(mode)
        if sync:
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut could leave the new name without the new content
        os.replace(partial, path)
        if sync:
            _sync_folder(path.parent)
    except HfsrError:
        raise  # among them HubError, which is an OSError too
    except Exception as caught:
        if not isinstance(caught, (OSError, *also)):
            raise
        reason = getattr(caught, "strerror", None) or " ".join(str(caught).split()) or type(caught).__name__
        raise error(f"'{path}' cannot be written ({reason[:200]}); {advice}") from caught
    finally:
        partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path, *, recursive: bool = True) -> None:
    """Removes the temporary files that killed processes of this machine left in a folder.

    Files of living processes and of other machines stay: `hfsr push` may be writing there.

    Args:
        folder: the folder.
        recursive: True to clean its subfolders too.
    """
    for partial in (folder.rglob if recursive else folder.glob)(f".*{PARTIAL_SUFFIX}"):
        if not _is_being_written(partial):
            partial.unlink(missing_ok=True)


def _machine() -> str:
    """Returns a short name of this machine: a folder may be shared, and numbers of processes repeat."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _is_being_written(partial: Path) -> bool:
    """Returns False if no process is named, or one of this machine that has ended."""
    import psutil  # not at the top, because writing does not need it

    owner = _OWNER.search(partial.name)
    if owner is None:
        return False
    if owner[1] not in (None, _machine()):
        return True
    try:
        process = psutil.Process(int(owner[2]))
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < partial.stat().st_mtime
    except (psutil.NoSuchProcess, FileNotFoundError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


def _sync_folder(folder: Path) -> None:
    """Flushes a folder, so that a renamed file keeps its new name after a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
