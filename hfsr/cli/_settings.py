"""`--set NAME=VALUE`: constructor arguments on a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hfsr.errors import UsageError

__all__ = ["parse_settings"]


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Parses texts such as "img_range=1", "residual=true" and "rgb_mean=0.5,0.5,0.5" into values by name.

    Raises:
        UsageError: if a text is not `NAME=VALUE`, or a name occurs twice with different values.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip().isidentifier() or not text.strip():
            raise UsageError(f"--set {setting!r} is not NAME=VALUE, for example img_range=1")
        name, value = name.strip(), _value(text.strip())
        if parsed.setdefault(name, value) != value:
            raise UsageError(f"--set gives {name} twice: {parsed[name]!r} and {value!r}; give one")
    return parsed


def _value(text: str) -> Any:
    if "," in text:
        return [_value(part.strip()) for part in text.strip("[]() ").rstrip(",").split(",")]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE):
        return float(text)
    return text
