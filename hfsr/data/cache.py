"""Disk cache of decoded images: packs named by a hash of their content, in a folder of limited size."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hfsr.errors import DataError, HfsrError

from .pack import Pack, writing_pack

__all__ = ["ImageCache", "default_folder"]

logger = logging.getLogger("hfsr")

Pairs = list[tuple[NDArray, NDArray]]
"""LQ and GT, uint8 or uint16."""

_SUFFIX = ".cache.pack"


def default_folder() -> Path:
    """Returns `hfsr/pictures` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hfsr" / "pictures"


@dataclass(frozen=True)
class ImageCache:
    """Decoded LQ and GT of data sets; the least recently used sets are removed for new ones."""

    folder: Path
    limit: int
    """Maximum size of all packs together in bytes."""

    def key(self, sources: Sequence[Path], settings: dict[str, Any]) -> str:
        """Returns a name for a set, from its files (path, size, time) and from their processing."""
        facts = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
        return hashlib.sha256(json.dumps([facts, settings], sort_keys=True).encode()).hexdigest()[:24]

    def load(self, key: str, count: int) -> Pairs | None:
        """Returns the pairs of a set, memory-mapped, or None if the cache does not have them."""
        path = self.folder / f"{key}{_SUFFIX}"
        if not path.is_file():
            return None
        try:
            pack = Pack(path)
            pairs = [(pack.read(f"{k}.lq"), pack.read(f"{k}.gt")) for k in range(count)]
            os.utime(path)
        except (DataError, KeyError, OSError) as error:
            logger.warning("the cache '%s' will be rebuilt: %s", path, error)
            return None
        return pairs

    def store(self, key: str, pairs: Pairs) -> Pairs:
        """Writes the pairs of a set and returns them memory-mapped, or unchanged if there is no space."""
        size = sum(lq.nbytes + gt.nbytes for lq, gt in pairs)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            free = shutil.disk_usage(self.folder).free
            if size > self.limit or size > free // 2:
                logger.warning(
                    "decoded images (%.1f GB) are not cached: limit %.1f GB, half of the free disk %.1f GB",
                    *(number / 1e9 for number in (size, self.limit, free / 2)),
                )
                return pairs
            with writing_pack(self.folder / f"{key}{_SUFFIX}", {}) as writer:
                for k, (lq, gt) in enumerate(pairs):
                    writer.add(f"{k}.lq", lq)
                    writer.add(f"{k}.gt", gt)
        except (HfsrError, OSError) as error:
            logger.warning("the decoded images are not cached: %s", error)
            return pairs
        return self.load(key, len(pairs)) or pairs

    def _make_room(self, size: int) -> None:
        packs = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        used = sum(path.stat().st_size for path in packs)
        for path in packs:
            if used + size <= self.limit:
                return
            used -= path.stat().st_size
            path.unlink()
