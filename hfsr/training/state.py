"""Training states: everything a run needs to go on as if it had never stopped.

A state holds tensors and plain values only, so it is read with `weights_only=True`. Random number generators
are not among them: the engine seeds them anew each iteration from (seed, iteration, process).
"""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from hfsr.errors import CheckpointError

from .files import save_atomically

__all__ = ["FORMAT", "find_states", "newest_state", "read_state", "write_state"]

FORMAT = 1

State = dict[str, Any]
logger = logging.getLogger("hfsr")


def write_state(folder: Path, state: State, *, keep: int) -> Path:
    """Saves a state as `<iteration>.state` and removes all but the newest `keep`."""
    path = folder / f"{state['iter']}.state"
    save_atomically(path, {"format": FORMAT, **state})
    for old in find_states(folder)[keep:]:
        old.unlink()
    return path


def find_states(folder: Path) -> list[Path]:
    """The states of a run, newest first."""
    found = [path for path in folder.glob("*.state") if path.stem.isdigit()]
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def read_state(path: Path) -> State:
    """Reads one state on the CPU.

    Raises:
        CheckpointError: missing, damaged, or written by something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no training state '{path}'") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"'{path}' is damaged or not a training state; resume from an older one"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"'{path}' is not a training state of this version of hfsr; start the run anew")
    return state


def newest_state(folder: Path) -> State | None:
    """The newest state that can be read, or None; each one passed over is said in the log."""
    for path in find_states(folder):
        try:
            return read_state(path)
        except CheckpointError as error:
            logger.warning("%s; trying the one before", error)
    return None
