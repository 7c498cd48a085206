"""Memory of one compiled stage per process that stays allocated between images of one size.

OpenVINO returns the memory of a request to the system when it is released. To access it anew takes up to a
fifth of the time of an image. Only the stage that ran last keeps its memory, so that several models and sizes
do not add up, and it is released before anything else runs.
"""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

import torch

from ..runtime.memory import is_memory_shared, planned_memory

__all__ = ["Releasable", "keep", "kept_bytes", "release_others"]

_SHARE = 0.25
"""Share of the free memory up to which the memory of a stage is kept."""


class Releasable(Protocol):
    """A compiled stage."""

    def release(self) -> None:
        """Frees the memory of a run."""


_lock = threading.Lock()
_kept: tuple[weakref.ref[object], weakref.ref[Releasable]] | None = None
"""The network and its stage; weak, so that the memory ends with them."""


def kept_bytes(device: torch.device) -> int:
    """Returns the bytes up to which the memory of a stage is kept; 0 if processes share the memory."""
    return 0 if is_memory_shared() else int(planned_memory(device) * _SHARE)


def keep(owner: object, stage: Releasable) -> None:
    """Keeps the memory of a stage instead of that of another one.

    Args:
        owner: the network to which the stage belongs.
        stage: the stage that ran.
    """
    global _kept
    with _lock:
        before, _kept = _kept, (weakref.ref(owner), weakref.ref(stage))
    if before is not None and (other := before[1]()) is not None and other is not stage:
        other.release()


def release_others(owner: object | None) -> None:
    """Releases kept memory that does not belong to `owner`; None for all."""
    global _kept
    with _lock:
        if _kept is None or (owner is not None and _kept[0]() is owner):
            return
        before, _kept = _kept, None
    if (stage := before[1]()) is not None:
        stage.release()
