"""Integrity check of files in the Hub's cache: SHA-256 of large files, git's SHA-1 of the others."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hfsr.errors import HubError

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["damaged_message", "is_intact", "matches_oid", "remove_blob", "sha256_of", "verify_download"]


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    return _digest(path, hashlib.sha256())


def matches_oid(path: Path, oid: str) -> bool:
    """Returns True if a file has this id on the Hub: its SHA-256, or for small files git's SHA-1."""
    hasher = hashlib.sha256() if len(oid) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    return _digest(path, hasher) == oid


def verify_download(path: Path, repo_id: str) -> None:
    """Compares a downloaded file with its hash, its name in the cache; the client compares only sizes.

    Raises:
        HubError: the hashes differ. The file is removed, so that the next attempt downloads it again.
    """
    if not path.is_symlink():  # without links in the file system, the cache keeps no hash
        return
    blob = path.parent / path.readlink()  # one step only: a shared store behind it uses other names
    if not is_intact(blob):
        path.unlink()
        remove_blob(blob)
        raise HubError(damaged_message(path.name, repo_id))


def is_intact(blob: Path) -> bool:
    """Returns True if a file of the cache matches the hash in its name, or if its name is not a hash."""
    return matches_oid(blob, blob.name) if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name) else True


def remove_blob(blob: Path) -> None:
    """Removes a file of the cache.

    A file from Xet is also removed from the store that repositories share; the client would reuse it from
    there.
    """
    for file in (blob, blob.resolve()):
        file.unlink(missing_ok=True)


def damaged_message(name: str, repo_id: str) -> str:
    """Returns the message for a file that does not match its hash."""
    return f"{name} of '{repo_id}' arrived damaged (its hash differs); nothing was kept, try again"


def _digest(path: Path, hasher: _Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
