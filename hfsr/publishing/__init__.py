"""Publishing of models and Spaces, for `push_to_hub`, `hfsr push`, `push-space` and pushes during training.

A model is opened (publishable), measured (measure), written as a model folder with its card (staging) and
uploaded (push).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .push import push_to_hub

__all__ = ["push_to_hub"]


def __getattr__(name: str) -> Any:
    if name != "push_to_hub":
        raise AttributeError(f"module 'hfsr.publishing' has no attribute '{name}'")
    value = getattr(importlib.import_module("hfsr.publishing.push"), name)
    globals()[name] = value
    return value
