"""Other engines that run the planner's stages: compiled for one window shape, fed window after window.

`segments` cuts a program where that pays, `windows` lays windows of one shape over the image, and
`openvino` compiles a stage for that shape. Torch needs none of this: it runs any region as it comes.
"""

from .compiled import CompiledNetwork, is_worth_compiling
from .selection import BACKENDS, choose_backend

__all__ = ["BACKENDS", "CompiledNetwork", "choose_backend", "is_worth_compiling"]
