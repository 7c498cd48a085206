"""Training states: everything that a run needs to resume exactly.

A state contains tensors and plain values only, so it is read with `weights_only=True`. It contains no state
of random number generators: the engine seeds them before each iteration from (seed, iteration, process).
"""

from __future__ import annotations

import logging
import pickle
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hfsr.errors import CheckpointError, some_of
from hfsr.options import TrainOptions

from .file_writing import save_atomically

if TYPE_CHECKING:
    from .run_dirs import RunDirs

__all__ = [
    "FORMAT",
    "EarlierState",
    "State",
    "earlier_state",
    "find_states",
    "newest_state",
    "read_state",
    "write_state",
]

FORMAT = 1
_BASICSR_KEYS = frozenset({"iter", "optimizers", "schedulers"})
"""Top-level keys of BasicSR's states, which have no format number."""

State = dict[str, Any]
logger = logging.getLogger("hfsr")


def write_state(folder: Path, state: State, *, keep: int) -> Path:
    """Saves a state as `<iteration>.state`, and removes earlier ones except the newest `keep` with it.

    States of later iterations stay: they are damaged, or of another history, and must not push this one out.
    """
    path = folder / f"{state['iter']}.state"
    save_atomically(path, {"format": FORMAT, **state})
    for old in [each for each in find_states(folder) if int(each.stem) <= state["iter"]][keep:]:
        old.unlink()
    return path


def find_states(folder: Path) -> list[Path]:
    """Returns the states of a run, newest first."""
    found = [path for path in folder.glob("*.state") if path.stem.isdigit()]
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def read_state(path: Path) -> State:
    """Reads one state on the CPU.

    Raises:
        CheckpointError: if the file is missing, damaged, or no training state of hfsr.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no training state '{path}'") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if _strings(path) >= _BASICSR_KEYS:
            raise _of_basicsr(path) from error
        raise CheckpointError(f"'{path}' is damaged or not a training state") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"'{path}' is not a training state")
    if state.keys() >= _BASICSR_KEYS and "format" not in state:
        raise _of_basicsr(path)
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' is not a training state of this version of hfsr, which reads format {FORMAT}; start "
            "from its run's weights: path.pretrain_network_g"
        )
    return state


@dataclass(frozen=True)
class EarlierState:
    """The state from which a run resumes."""

    state: State
    is_newest: bool
    """False if the run's folder has no states, or others than this one as the newest: it is not continued."""


def earlier_state(options: TrainOptions, folders: RunDirs, *, auto_resume: bool) -> EarlierState | None:
    """Returns the state from which a run resumes, or None if it starts from the beginning.

    With `auto_resume` it is the run's newest state, as in BasicSR; `path.resume_state` if the run has none,
    or without `auto_resume`.

    Raises:
        CheckpointError: if the state, or each of them, cannot be read.
    """
    named = options.path.resume_state
    newest = newest_state(folders.states) if auto_resume else None
    if newest is not None:
        if named is not None:
            logger.warning(
                "path.resume_state is not used: with --auto_resume the run continues from its newest state, "
                "of iteration %s; without --auto_resume it starts again from '%s'",
                f"{newest['iter']:,}",
                named,
            )
        return EarlierState(newest, is_newest=True)
    if named is None:
        return None
    path = Path(named).expanduser()
    state = read_state(path)
    is_of_run = any(found.samefile(path) for found in find_states(folders.states))
    latest = newest_state(folders.states) if is_of_run else None
    return EarlierState(state, is_newest=latest is not None and latest["iter"] == state["iter"])


def newest_state(folder: Path) -> State | None:
    """Returns the newest readable state; logs each unreadable one.

    Returns:
        The state, or None if none was saved.

    Raises:
        CheckpointError: if there are states, but none can be read. Training from the beginning would move
            them away, which the user must request.
    """
    failures = []
    for path in find_states(folder):
        try:
            state = read_state(path)
        except CheckpointError as error:
            failures.append(str(error))
        else:
            for failure in failures:
                logger.warning("%s; resuming from '%s'", failure, path.name)
            return state
    if failures:
        raise CheckpointError(
            f"no training state can be read: {some_of(failures)}; put one of them back, or train from the "
            "beginning without --auto_resume, which keeps this run under another name"
        )
    return None


def _of_basicsr(path: Path) -> CheckpointError:
    """Returns the error for a state of BasicSR, which names the weights that belong to it."""
    weights = path.absolute().parent.parent / "models" / f"net_g_{path.stem}.pth"
    named = f"'{weights}'" if weights.is_file() else "the net_g_*.pth of its run"
    return CheckpointError(
        f"'{path}' is a training state of BasicSR, from which hfsr cannot resume; start from its weights: "
        f"path.pretrain_network_g: {named}"
    )


def _strings(path: Path) -> set[str]:
    """Returns the strings in a file of torch.save without building its objects; none for other files."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return {value for _, value, _ in pickletools.genops(archive.read(name)) if isinstance(value, str)}
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return set()
