"""Paths of packaged files: option files, model cards, Spaces and bundled weights.

Weights are stored inside the package. Other files are in `hfsr/_packaged` in a wheel; an editable install
reads them from the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hfsr.errors import HfsrError, suggest

__all__ = ["CALIBRATION_NAME", "INT8_SUFFIX", "Kind", "bundled_models", "folder", "int8_models", "path"]

INT8_SUFFIX = "-int8"
"""End of the name of a bundled model in 8-bit integers."""
CALIBRATION_NAME = "int8.safetensors"
"""Name of a calibration in the folder of a bundled model."""
Kind = Literal["options", "model_cards", "spaces", "weights"]

_PACKAGE = Path(__file__).resolve().parent


def folder(kind: Kind) -> Path:
    """Returns the folder with all files of one kind.

    Raises:
        HfsrError: the folder is missing, because the installation is incomplete.
    """
    checkout = _PACKAGE if kind == "weights" else _PACKAGE.parent
    for candidate in (_PACKAGE / "_packaged" / kind, checkout / kind):
        if candidate.is_dir():
            return candidate
    raise HfsrError(f"this installation of hfsr lacks its folder '{kind}'; install hfsr again")


def path(kind: Kind, name: str) -> Path:
    """Returns the path of a packaged file or folder.

    Raises:
        HfsrError: the name does not exist; the message suggests a similar one.
    """
    root = folder(kind)
    if name in (known := _names(root)):
        return root / name
    raise HfsrError(f"hfsr has no packaged {kind} '{name}'{suggest(name, known)}")


def bundled_models() -> list[str]:
    """Returns the names of the bundled models, which are valid wherever a model is expected."""
    root = _PACKAGE / "weights"
    return [name for name in _names(root) if (root / name / "config.json").is_file()] if root.is_dir() else []


def int8_models() -> list[str]:
    """Returns the names of the bundled models in 8-bit integers, which end in `INT8_SUFFIX`."""
    root = _PACKAGE / "weights"
    return [f"{name}{INT8_SUFFIX}" for name in bundled_models() if (root / name / CALIBRATION_NAME).is_file()]


def _names(root: Path) -> list[str]:
    """Returns the names in a folder, without hidden files and caches."""
    return sorted(p.name for p in root.iterdir() if not p.name.startswith((".", "_")))
