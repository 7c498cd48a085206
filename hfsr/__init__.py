"""hfsr: image restoration with BasicSR training, the Hugging Face Hub and exact tiled inference.

Every public name is imported on first use, so `import hfsr` and `hfsr --help` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from hfsr.checkpoints import load_checkpoint
    from hfsr.errors import HfsrError, HfsrWarning
    from hfsr.hub import from_pretrained, save_pretrained
    from hfsr.inference import Progress, Upscaler
    from hfsr.model_zoo import Restorer, create_model, list_archs, list_models, register_arch
    from hfsr.priors import ZeroShot
    from hfsr.publishing import push_to_hub

_HOMES = {
    "HfsrError": "hfsr.errors",
    "HfsrWarning": "hfsr.errors",
    "Progress": "hfsr.inference",
    "Restorer": "hfsr.model_zoo",
    "Upscaler": "hfsr.inference",
    "ZeroShot": "hfsr.priors",
    "create_model": "hfsr.model_zoo",
    "from_pretrained": "hfsr.hub",
    "list_archs": "hfsr.model_zoo",
    "list_models": "hfsr.model_zoo",
    "load_checkpoint": "hfsr.checkpoints",
    "push_to_hub": "hfsr.publishing",
    "register_arch": "hfsr.model_zoo",
    "save_pretrained": "hfsr.hub",
}

__all__ = [
    "HfsrError",
    "HfsrWarning",
    "Progress",
    "Restorer",
    "Upscaler",
    "ZeroShot",
    "__version__",
    "create_model",
    "from_pretrained",
    "list_archs",
    "list_models",
    "load_checkpoint",
    "push_to_hub",
    "register_arch",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfsr' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
