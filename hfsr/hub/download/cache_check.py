"""What tells files apart on the Hub: the SHA-256 of large ones, git's SHA-1 of the others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["matches_oid", "sha256_of"]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return _digest(path, hashlib.sha256())


def matches_oid(path: Path, oid: str) -> bool:
    """Whether a file is the one of this id on the Hub: 64 hexadecimal digits, or for small files 40."""
    head = hashlib.sha256() if len(oid) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    return _digest(path, head) == oid


def _digest(path: Path, head: _Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            head.update(chunk)
    return head.hexdigest()
