"""Integrity of files in the Hub's cache: the SHA-256 of large files, git's SHA-1 of the others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["matches_oid", "sha256_of"]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    return _digest(path, hashlib.sha256())


def matches_oid(path: Path, oid: str) -> bool:
    """True if a file has this id on the Hub: its SHA-256, or for small files git's SHA-1."""
    hasher = hashlib.sha256() if len(oid) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    return _digest(path, hasher) == oid


def _digest(path: Path, hasher: _Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
