"""Cures for packages that break each other, applied before timm, spandrel or basicsr is imported.

torchvision beside a CPU torch: the index's torchvision is a CUDA build whose import fails there with
"operator torchvision::nms does not exist". The cure acts on that failure alone: it declares the missing
operators' schemas, forgets the half-imported modules, imports again. A working torchvision is never touched.
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
_libraries: dict[str, Any] = {}  # a torch.library.Library undoes its definitions when it is collected


def import_torchvision() -> Any:
    """Imports torchvision, cured where that is needed; call it before timm, spandrel or basicsr.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """
    while True:
        try:
            return importlib.import_module("torchvision")
        except ModuleNotFoundError as error:
            if error.name != "torchvision":
                raise
            raise MissingDependencyError("torchvision", extra="train", purpose="this feature") from error
        except RuntimeError as error:
            missing = [
                name for name in _SCHEMAS if f"operator torchvision::{name} does not exist" in str(error)
            ]
            if not missing or missing[0] in _libraries:
                raise
            _declare(missing[0])
            for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
                del sys.modules[name]


def _declare(operator: str) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(_SCHEMAS[operator])
    _libraries[operator] = library
