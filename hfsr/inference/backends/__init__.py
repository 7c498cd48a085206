"""Other engines that run the planner's stages: compiled for one window shape, fed window after window.

`segments` cuts a program where that pays, `windows` lays windows of one shape over the image, and
`openvino` compiles a stage for that shape. Torch needs none of this: it runs any region as it comes.
"""

from .choice import BACKENDS, choose_backend
from .compiled import CompiledNetwork, is_worth_compiling

__all__ = ["BACKENDS", "CompiledNetwork", "choose_backend", "is_worth_compiling"]
