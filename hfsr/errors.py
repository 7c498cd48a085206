"""Exceptions of hfsr; each message is one line: what is wrong, what is allowed, what to do.

HfsrError
├── UnknownNameError       a network, loss, option or model name that is not registered
├── OptionsError           an invalid option file or argument
├── UsageError             a command line that the command does not support (exit code 2)
├── CheckpointError        weights or a model folder that cannot be read or do not fit
├── ImageError             an image that cannot be read or written
├── DataError              a data set that is missing, empty, or whose images do not match
├── PlanError              a network or an image size that cannot be run in exact tiles
├── HubError               the Hugging Face Hub refused, is unreachable, or has no such model
└── MissingDependencyError a feature whose extra is not installed

HfsrWarning is the category of warnings: a result may be wrong, and the message says how to find out.
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
    """Base class of all errors that hfsr raises; the command line prints it as one line and exits with 1."""


class UnknownNameError(HfsrError, ValueError):
    """A name that is not registered."""


class OptionsError(HfsrError, ValueError):
    """An invalid option file or argument."""


class UsageError(HfsrError, ValueError):
    """A command line that the command does not support; it exits with 2."""


class CheckpointError(HfsrError, ValueError):
    """Weights or a model folder that cannot be read, or that do not fit the network."""


class ImageError(HfsrError, ValueError):
    """An image that cannot be read, processed or written."""


class DataError(HfsrError, ValueError):
    """A data set that is missing or empty, or whose LQ and GT images do not match."""


class PlanError(HfsrError, ValueError):
    """A network or an image size that cannot be run in exact tiles."""


class HubError(HfsrError, OSError):
    """The Hub refused the request, is unreachable, or has no such model."""


class HfsrWarning(UserWarning):
    """Category of hfsr's own warnings; the command line prints each as one line."""


class MissingDependencyError(HfsrError, ImportError):
    """A feature whose extra is not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of hfsr that installs it.
        purpose: the feature that needs it, for example "training".
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: {install_command(extra)}")


def install_command(extra: str) -> str:
    """Returns the command that installs an extra; in a checkout it uses the constraints, which keep torch."""
    root = Path(__file__).resolve().parent.parent
    if all((root / name).is_file() for name in ("constraints.txt", "pyproject.toml")):
        return f"pip install -c constraints.txt '.[{extra}]' in the checkout of hfsr"
    return f"pip install 'hfsr[{extra}]'"


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Returns "; did you mean 'X'?" if an allowed name is similar, else a list of the allowed names."""
    candidates = sorted(allowed)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near:
        folded = {candidate.lower(): candidate for candidate in candidates}
        near = [folded[key] for key in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)]
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; allowed: {some_of(candidates, 12)}" if candidates else ""


def some_of(names: Iterable[str], limit: int = 5) -> str:
    """Joins up to `limit` names, followed by the total number if some are omitted."""
    listed = list(names)
    shown = ", ".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown}, ... ({len(listed)} in all)"
