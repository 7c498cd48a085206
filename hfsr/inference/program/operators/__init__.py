"""Operators of a network's graph, each able to compute any region of its output exactly.

An operator knows the input region that an output region needs (its geometry), its channels and arithmetic,
and how to compute an output region from `OperatorInputs`. Zero padding is applied only where a region touches
the border of its feature map, so that a tile equals the same part of the whole-image result.

A new operator takes a class here and one line in a table of `operator_mapping`.
"""

from .base import Operator, OperatorInputs
from .convolution import Blur, Convolution, TransposedConvolution
from .pointwise import CHANNEL_REDUCTIONS, Pointwise, concat_inputs
from .resampling import Crop, PixelUnshuffle, PositionalUpsampling, Resampling

__all__ = [
    "CHANNEL_REDUCTIONS",
    "Blur",
    "Convolution",
    "Crop",
    "Operator",
    "OperatorInputs",
    "PixelUnshuffle",
    "Pointwise",
    "PositionalUpsampling",
    "Resampling",
    "TransposedConvolution",
    "concat_inputs",
]
