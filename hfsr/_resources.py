"""Finds what travels with the package: option files, model cards, the Space, bundled weights.

In a wheel they lie under `hfsr/_packaged`; in an editable install they are read in place from the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hfsr.errors import HfsrError, suggest

__all__ = ["Kind", "bundled_models", "folder", "path"]

Kind = Literal["options", "model_cards", "spaces", "weights"]

_PACKAGE = Path(__file__).resolve().parent


def folder(kind: Kind) -> Path:
    """The folder that holds everything of one kind.

    Raises:
        HfsrError: the installation is incomplete.
    """
    if kind == "weights":
        return _PACKAGE / "weights"
    for candidate in (_PACKAGE / "_packaged" / kind, _PACKAGE.parent / kind):
        if candidate.is_dir():
            return candidate
    raise HfsrError(f"this installation of hfsr lacks its folder '{kind}'; install hfsr again")


def path(kind: Kind, name: str) -> Path:
    """The packaged file or folder `name` of one kind.

    Raises:
        HfsrError: there is none of that name; the nearest is named.
    """
    root = folder(kind)
    found = root / name
    if not found.exists():
        raise HfsrError(f"hfsr has no packaged {kind} '{name}'{suggest(name, (p.name for p in root.iterdir()))}")
    return found


def bundled_models() -> list[str]:
    """Names of the models that travel with the package, valid wherever a model is named."""
    root = folder("weights")
    return sorted(p.name for p in root.iterdir() if (p / "config.json").is_file()) if root.is_dir() else []
