"""The Hugging Face Hub: client, downloads, model cards, uploads, and `from_pretrained` for any model.

Only this package imports `huggingface_hub`, and only when a model is on the Hub.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .download.resolve import from_pretrained
    from .model_folder import save_pretrained

__all__ = ["from_pretrained", "save_pretrained"]

_HOMES = {"from_pretrained": "download.resolve", "save_pretrained": "model_folder"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfsr.hub' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"hfsr.hub.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
