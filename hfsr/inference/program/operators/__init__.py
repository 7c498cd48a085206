"""What each operator of a network's graph does to a piece of a map.

An operator knows three things: which input region an output region needs (its geometry), how many channels
and multiply-adds it has, and how to compute exactly that output region from a `Workspace`. Zero padding is
applied only where a region touches the true border of its map, so a piece equals the same part of the whole-
image result.

To teach the planner a new operator, add a class here and one line to a table of `rules`.
"""

from .base import MapOperator, Workspace
from .convolution import Blur, Convolution, TransposedConvolution
from .pointwise import OVER_CHANNELS, Pointwise
from .resampling import Positional, Resampling, Trimming, Unshuffle

__all__ = [
    "OVER_CHANNELS",
    "Blur",
    "Convolution",
    "MapOperator",
    "Pointwise",
    "Positional",
    "Resampling",
    "TransposedConvolution",
    "Trimming",
    "Unshuffle",
    "Workspace",
]
