"""The result of one network as the image of the next one."""

from __future__ import annotations

import numpy as np
import torch

from ..program.geometry import Size
from .device_transfer import HostSink
from .pixel_source import PixelSink, PixelSource
from .result_array import ArrayWriter, allocate_result
from .sources_and_sinks import ImageSource, TensorSink, TensorSource

__all__ = ["intermediate"]


def intermediate(source: ImageSource, size: Size, device: torch.device) -> tuple[HostSink, ImageSource]:
    """A sink for a result, and the source that reads it once it is complete.

    Integers are kept in 16 bit, gray as gray: half the memory of float32 (in a temporary file where memory is
    short), and an error below a 200th of a level of 8 bit. Floats stay floats, which are not clamped.

    Args:
        source: the image before the first network.
        size: of the result.
        device: of the networks.
    """
    if isinstance(source, PixelSource) and source.array.dtype.kind == "u":
        array = allocate_result((*size, *source.array.shape[2:]), np.dtype(np.uint16))
        pixels = PixelSource(array, device)
        return PixelSink(pixels, ArrayWriter(array)), pixels
    values = torch.from_numpy(allocate_result((1, 3, *size), np.dtype(np.float32)))
    return TensorSink(values), TensorSource(values, device)
