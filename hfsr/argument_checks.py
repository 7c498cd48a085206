"""Checks of arguments of public functions: one line instead of an error from deep inside."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

from hfsr.errors import OptionsError

__all__ = ["check_mapping", "check_path", "check_positive", "check_text"]


def check_path(name: str, value: Any) -> None:
    """Raises OptionsError unless a value is a text or a path."""
    if not isinstance(value, (str, os.PathLike)):
        raise OptionsError(f"{name} is of type {type(value).__name__}; use a text or a path")


def check_text(name: str, value: Any) -> None:
    """Raises OptionsError unless a value is a text."""
    if not isinstance(value, str):
        raise OptionsError(f"{name} is of type {type(value).__name__}; use a text")


def check_positive(name: str, value: Any, *, whole: bool = False) -> None:
    """Raises OptionsError unless a value is a finite number above 0, or with `whole` an integer above 0."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value <= 0 or (whole and value != int(value)):
        kind = "whole number" if whole else "number"
        raise OptionsError(f"{name} {value!r} is not allowed; use a {kind} above 0")


def check_mapping(name: str, value: Any) -> None:
    """Raises OptionsError unless a value is a dictionary."""
    if not isinstance(value, Mapping):
        raise OptionsError(f"{name} is of type {type(value).__name__}; use a dictionary")
