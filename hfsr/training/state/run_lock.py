"""Lock of a run's folder: only one process at a time trains the run of a name.

The lock is a POSIX record lock on `experiments/.<name>.lock`, which the system releases when its owner ends
in any way; child processes do not inherit it, and it works over NFS. The file describes the owner, which
removes it at the end; a file without a lock therefore remains from a killed process. Some network file
systems do not pass locks on to other machines. Therefore the owner also touches the file every few seconds,
and a process on another host observes the file for a while before it takes the lock over.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import psutil

from hfsr.errors import HfsrError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

__all__ = ["LockOwner", "RunLock", "RunLockedError"]

logger = logging.getLogger("hfsr")

_TOUCH_SECONDS = 4.0
"""Seconds between two touches of the file by the owner."""
_WATCH_SECONDS = 10.0
"""Seconds for which another host observes the file; more than two intervals of the owner."""
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems without locks."""


@dataclass(frozen=True)
class LockOwner:
    """A process that trains a run."""

    host: str
    pid: int
    created: float
    """Start of the process in seconds since 1970, because the system reuses process ids."""
    since: str
    """Start of the run in local time, for messages."""
    token: str
    """A random value that identifies the owner."""

    @classmethod
    def current(cls) -> LockOwner:
        """Returns this process as an owner."""
        created = psutil.Process().create_time()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), os.getpid(), created, since, secrets.token_hex(8))

    @classmethod
    def read(cls, path: Path) -> LockOwner | None:
        """Returns the owner in a lock file, or None if the file is missing, empty or damaged."""
        try:
            return _parse(path.read_bytes())
        except OSError:
            return None

    def is_here(self) -> bool:
        """Returns True if the process is on this host."""
        return self.host == socket.gethostname()

    def is_running(self) -> bool:
        """Returns True if the process is running; valid on its own host only."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created) < 1
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class RunLockedError(HfsrError):
    """The name of a run is reserved by another process.

    Attributes:
        holder: description of that process.
    """

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f"the run '{name}' is being trained by {holder}; wait for it (--wait), stop it, or train under "
            "another name: --force_yml name=NAME"
        )
        self.holder = holder


class RunLock:
    """Reserves the name of a run from `acquire` to `release`.

    Args:
        folder: the run's folder; the lock does not touch it and stays valid when it is moved.
    """

    _held: dict[Path, LockOwner] = {}  # noqa: RUF012  record locks do not conflict within one process
    _guard = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.path = folder.with_name(f".{folder.name}.lock")
        self._file: int | None = None
        self._has_made_folder = False
        self._stop = threading.Event()

    def try_acquire(self) -> str | None:
        """Takes the lock, as `acquire` does, if it is free; else returns a description of its holder.

        Raises:
            HfsrError: if the lock file cannot be written.
        """
        try:
            self.acquire()
        except RunLockedError as error:
            return error.holder
        return None

    def acquire(self) -> None:
        """Takes the lock; takes over that of a killed process with a warning in the log.

        Raises:
            RunLockedError: if another process holds it.
            HfsrError: if the lock file cannot be written.
        """
        self.path = self.path.absolute()
        owner = LockOwner.current()
        with self._guard:
            if (holder := self._held.get(self.path)) is not None:
                raise self._refusal(holder)
            self._held[self.path] = owner
        try:
            self._file = self._take(owner)
        except BaseException as error:
            del self._held[self.path]
            if isinstance(error, OSError):
                raise HfsrError(
                    f"the lock file '{self.path}' cannot be written ({error.strerror or error}); check the "
                    "permissions of its folder, and free space"
                ) from error
            raise
        self._stop.clear()
        self._touching = threading.Thread(target=self._touch, args=(self._file,), daemon=True)
        self._touching.start()

    def release(self) -> None:
        """Releases the name; does nothing if the lock is not held.

        Removes the lock's folder if the lock created it and it is empty: the run did not start.
        """
        if self._file is None:
            return
        self._stop.set()
        self._touching.join()
        owner = self._held.pop(self.path)
        # Read from the open file: closing another descriptor of it would release the record lock. On systems
        # without locks, the file may belong to another owner by now.
        found = _parse(os.pread(self._file, 4096, 0))
        if found is not None and found.token == owner.token and _is_same_file(self._file, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None
        if self._has_made_folder:
            with suppress(OSError):  # it contains the run
                self.path.parent.rmdir()

    def _take(self, owner: LockOwner) -> int:
        """Opens the lock file, locks it and writes this owner into it."""
        while True:
            file = self._open()
            try:
                is_locked = self._lock(file)
                if not _is_same_file(file, self.path):  # the previous owner removed it meanwhile
                    os.close(file)
                    continue
                if self._take_over(file, has_locks=is_locked):
                    self._lock(file)
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(asdict(owner)).encode(), 0)
                os.fsync(file)
                if not is_locked:
                    self._confirm(owner)
            except BaseException:
                with suppress(OSError):  # closed above
                    os.close(file)
                raise
            return file

    def _open(self) -> int:
        """Opens the lock file; creates it and its folder if they are missing."""
        if not self.path.parent.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._has_made_folder = True
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except FileNotFoundError:
            if self.path.parent.exists():
                raise
            return self._open()  # an owner whose run did not start removed the folder meanwhile

    def _lock(self, file: int) -> bool:
        """Locks an open file; returns False if the system or the file system has no locks.

        Raises:
            RunLockedError: if another process has locked it.
        """
        if fcntl is None:
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise self._refusal(self._wait_for_owner()) from error
            raise
        return True

    def _take_over(self, file: int, *, has_locks: bool) -> bool:
        """Checks that the owner in an unlocked file has ended.

        Returns:
            True if the check opened and closed the file, which releases a record lock.

        Raises:
            RunLockedError: if the owner has not ended.
        """
        owner = _parse(os.pread(file, 4096, 0))
        if owner is None:
            return False
        if owner.is_here():
            # The lock is free, so the process has ended, or it is this one and left the file behind.
            if not has_locks and owner.pid != os.getpid() and owner.is_running():
                raise self._refusal(owner)
        elif self._shows_life():
            raise self._refusal(owner)
        logger.warning("an earlier run of '%s' was killed (%s); its lock is taken over", self.name, owner)
        return not owner.is_here()

    def _shows_life(self) -> bool:
        """Returns True if the lock file changes; opens it each time so that NFS asks the server."""
        first = _looked_at(self.path)
        deadline = time.monotonic() + _WATCH_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(0.5, _WATCH_SECONDS / 4))
            if _looked_at(self.path) != first:
                return True
        return False

    def _confirm(self, owner: LockOwner) -> None:
        """Checks who owns the file: without locks, the last of several simultaneous writers is the owner.

        Raises:
            RunLockedError: if it is another process.
        """
        time.sleep(min(1.0, _WATCH_SECONDS / 4))
        found = LockOwner.read(self.path)
        if found is not None and found.token != owner.token:
            raise self._refusal(found)

    def _wait_for_owner(self) -> LockOwner | None:
        """Returns the owner of a locked file; waits while the file is still empty after locking."""
        for _ in range(20):
            if (owner := LockOwner.read(self.path)) is not None:
                return owner
            time.sleep(0.05)
        return None

    def _touch(self, file: int) -> None:
        while not self._stop.wait(_TOUCH_SECONDS):
            with suppress(OSError):  # a network file system may be unavailable for a while
                os.utime(file if os.utime in os.supports_fd else self.path)

    def _refusal(self, owner: LockOwner | None) -> RunLockedError:
        return RunLockedError(self.name, "another process" if owner is None else str(owner))


def _parse(content: bytes) -> LockOwner | None:
    try:
        return LockOwner(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _is_same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _looked_at(path: Path) -> tuple[int, bytes] | None:
    """Returns modification time and content of a file, or None if it is missing."""
    try:
        with path.open("rb") as stream:
            return os.fstat(stream.fileno()).st_mtime_ns, stream.read(4096)
    except OSError:
        return None
