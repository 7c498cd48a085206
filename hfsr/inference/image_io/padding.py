"""Padding of images to the size multiple of a network while they are read, and cropping of their results."""

from __future__ import annotations

from torch import Tensor

from hfsr.archs import padded_indices

from ..program.geometry import Region, Size
from .sources_and_sinks import ImageSink, ImageSource

__all__ = ["CroppedSink", "PaddedSource", "padded_size"]


def padded_size(size: Size, multiple: int) -> Size:
    """The smallest size that contains this one and whose sides are multiples of `multiple`."""
    return Size(*(side + -side % multiple for side in size))


class PaddedSource:
    """An image as the network's `forward` pads it for its `core`, without a padded copy.

    Args:
        source: the image.
        multiple: of which both sides of the padded image are multiples.
    """

    def __init__(self, source: ImageSource, multiple: int) -> None:
        self._source = source
        self._rows = padded_indices(source.size.height, multiple)
        self._columns = padded_indices(source.size.width, multiple)
        self.size = padded_size(source.size, multiple)

    def read(self, region: Region) -> Tensor:
        inside = region.clip(self._source.size)
        if inside == region:
            return self._source.read(region)
        y, x = self._rows[region.top : region.bottom], self._columns[region.left : region.right]
        read = Region(min(y), max(y) + 1, min(x), max(x) + 1)
        part = self._source.read(read)
        return part[..., [i - read.top for i in y], :][..., [i - read.left for i in x]]


class CroppedSink:
    """Sink that drops what lies beyond the result of the image without padding.

    Args:
        sink: receives the rest.
        size: of that result.
    """

    def __init__(self, sink: ImageSink, size: Size) -> None:
        self._sink = sink
        self._size = size

    def write(self, region: Region, part: Tensor) -> None:
        kept = region.clip(self._size)
        if kept.height > 0 and kept.width > 0:
            self._sink.write(kept, part[..., : kept.height, : kept.width])
