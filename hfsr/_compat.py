"""Workaround for importing torchvision next to a CPU build of torch; needed by timm, spandrel and basicsr.

The torchvision of the package index is a CUDA build, whose import fails with a CPU build of torch: "operator
torchvision::nms does not exist". Only after that error, the workaround declares the schemas of the missing
operators, removes the partially imported modules and imports again. A working torchvision is not changed.
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
    """Imports torchvision, with the workaround if needed; call it before timm, spandrel or basicsr.

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
