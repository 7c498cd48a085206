"""The errors a user can meet, each one line: what we got, what is allowed, what to do.

HfsrError
├── UnknownNameError       a network, loss, option or model name that nobody registered
├── OptionsError           an option file or an argument
├── UsageError             a command line that asks for what the command does not do (exit code 2)
├── CheckpointError        weights or a model folder that cannot be read or do not fit
├── ImageError             a picture that cannot be read or written
├── DataError              a data set that is missing, empty or does not pair
├── PlanError              a network or a size that cannot be run in exact pieces
├── HubError               the Hugging Face Hub refused, is away, or has no such model
└── MissingDependencyError a feature whose extra is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CheckpointError",
    "DataError",
    "HfsrError",
    "HfsrWarning",
    "HubError",
    "ImageError",
    "MissingDependencyError",
    "OptionsError",
    "PlanError",
    "UnknownNameError",
    "UsageError",
    "install_command",
    "some_of",
    "suggest",
]


class HfsrError(Exception):
    """Everything hfsr raises on purpose; the command line prints it as one line and exits with 1."""


class UnknownNameError(HfsrError, ValueError):
    """A name that nobody registered."""


class OptionsError(HfsrError, ValueError):
    """An option file or an argument that does not validate."""


class UsageError(HfsrError, ValueError):
    """A command line that asks for what the command does not do; the command exits with 2."""


class CheckpointError(HfsrError, ValueError):
    """Weights or a model folder that cannot be read, or that do not fit the network."""


class ImageError(HfsrError, ValueError):
    """A picture that cannot be read, processed or written."""


class DataError(HfsrError, ValueError):
    """A data set that is missing, empty, or whose pictures do not pair."""


class PlanError(HfsrError, ValueError):
    """A network or a size that cannot be run in exact pieces."""


class HubError(HfsrError, OSError):
    """The Hub refused, is out of reach, or has no such model."""


class HfsrWarning(UserWarning):
    """Everything hfsr warns of on purpose; the command line prints it as one line."""


class MissingDependencyError(HfsrError, ImportError):
    """A feature whose extra is not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of hfsr that brings it.
        purpose: what it is needed for, as in "training".
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: {install_command(extra)}")


def install_command(extra: str) -> str:
    """The command that installs an extra: in a checkout with its constraints, which keep torch as it is."""
    root = Path(__file__).resolve().parent.parent
    if all((root / name).is_file() for name in ("constraints.txt", "pyproject.toml")):
        return f"pip install -c constraints.txt '.[{extra}]' in the checkout of hfsr"
    return f"pip install 'hfsr[{extra}]'"


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Returns "; did you mean 'X'?" for the nearest allowed name, else the allowed names, else nothing."""
    candidates = sorted(allowed)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near:
        folded = {candidate.lower(): candidate for candidate in candidates}
        near = [folded[key] for key in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)]
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; allowed: {some_of(candidates, 12)}" if candidates else ""


def some_of(names: Iterable[str], limit: int = 5) -> str:
    """Joins up to `limit` names, and says how many there are in all when some are left out."""
    listed = list(names)
    shown = ", ".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown}, ... ({len(listed)} in all)"
