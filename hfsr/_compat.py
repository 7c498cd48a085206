"""Cures for packages that break each other, applied before timm, spandrel or basicsr is imported.

torchvision beside a CPU torch: the index's torchvision is a CUDA build whose import fails there with
"operator torchvision::nms does not exist". The cure acts on that failure alone: it declares the missing operators'
schemas, forgets the half-imported modules and imports again. A working torchvision is never touched.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from hfsr.errors import MissingDependencyError

__all__ = ["import_torchvision"]

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[Any] = []  # a torch.library.Library undoes its definitions when it is collected


def import_torchvision() -> Any:
    """Imports torchvision, curing the missing operators where needed; call it before timm, spandrel or basicsr.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """
    for _ in range(len(_SCHEMAS) + 1):
        try:
            return importlib.import_module("torchvision")
        except ModuleNotFoundError as error:
            if error.name != "torchvision":
                raise
            raise MissingDependencyError("torchvision", extra="train", purpose="this feature") from error
        except RuntimeError as error:
            missing = [name for name in _SCHEMAS if f"operator torchvision::{name} does not exist" in str(error)]
            if not missing:
                raise
            _declare(missing[0])
            for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
                del sys.modules[name]
    raise RuntimeError("torchvision still lacks its operators after the cure; reinstall torch and torchvision as a pair")


def _declare(operator: str) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(_SCHEMAS[operator])
    _libraries.append(library)
