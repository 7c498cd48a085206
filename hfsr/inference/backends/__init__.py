"""Backends: stages compiled by another engine for windows of one shape.

`planning/stage_segmentation` splits a program if that saves time, `window_executor` covers the image with
windows of one shape, and `openvino` compiles a stage for that shape. Torch runs any region uncompiled.
"""

from .compiled import CompiledNetwork, is_worth_compiling
from .kept_memory import release_others
from .selection import BACKENDS, choose_backend, reason_for_torch

__all__ = [
    "BACKENDS",
    "CompiledNetwork",
    "choose_backend",
    "is_worth_compiling",
    "reason_for_torch",
    "release_others",
]
