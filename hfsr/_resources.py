"""Finds what travels with the package: option files, model cards, the Space, bundled weights.

Weights lie inside the package. The rest lies under `hfsr/_packaged` in a wheel, and in an editable install it
is read in place from the checkout.
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
    checkout = _PACKAGE if kind == "weights" else _PACKAGE.parent
    for candidate in (_PACKAGE / "_packaged" / kind, checkout / kind):
        if candidate.is_dir():
            return candidate
    raise HfsrError(f"this installation of hfsr lacks its folder '{kind}'; install hfsr again")


def path(kind: Kind, name: str) -> Path:
    """The packaged file or folder `name` of one kind.

    Raises:
        HfsrError: there is none of that name; the nearest is named.
    """
    root = folder(kind)
    if name in (known := _names(root)):
        return root / name
    raise HfsrError(f"hfsr has no packaged {kind} '{name}'{suggest(name, known)}")


def bundled_models() -> list[str]:
    """Names of the models that travel with the package, valid wherever a model is named."""
    root = _PACKAGE / "weights"
    return [name for name in _names(root) if (root / name / "config.json").is_file()] if root.is_dir() else []


def _names(root: Path) -> list[str]:
    """What lies directly in a folder; hidden files and caches are nobody's resource."""
    return sorted(p.name for p in root.iterdir() if not p.name.startswith((".", "_")))
