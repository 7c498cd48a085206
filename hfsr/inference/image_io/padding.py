"""Padding of images to the size multiple of a network while they are read, and cropping of their results."""

from __future__ import annotations

from torch import Tensor

from hfsr.archs import padded_indices

from ..execution.feature_store import Read, Write
from ..program.geometry import Region, Size

__all__ = ["padded", "padded_size"]


def padded_size(size: Size, multiple: int) -> Size:
    """The smallest size that contains this one and whose sides are multiples of `multiple`."""
    return Size(*(side + -side % multiple for side in size))


def padded(size: Size, read: Read, write: Write, *, multiple: int, result: Size) -> tuple[Size, Read, Write]:
    """An image as a network's `forward` pads it for its `core`, without a padded copy of it.

    Args:
        size: of the image.
        read, write: regions of the image, and of the result.
        multiple: of which both sides must be multiples.
        result: size of the unpadded image's result; what lies beyond is dropped.

    Returns:
        The size of the padded image, and how to read it and to write its result.
    """
    rows, columns = padded_indices(size.height, multiple), padded_indices(size.width, multiple)

    def read_padded(r: Region) -> Tensor:
        inside = r.clip(size)
        if inside == r:
            return read(r)
        y, x = rows[r.top : r.bottom], columns[r.left : r.right]
        seen = Region(min(y), max(y) + 1, min(x), max(x) + 1)
        return read(seen)[..., [i - seen.top for i in y], :][..., [i - seen.left for i in x]]

    def write_cropped(r: Region, part: Tensor) -> None:
        kept = r.clip(result)
        if kept.height > 0 and kept.width > 0:
            write(kept, part[..., : kept.height, : kept.width])

    return padded_size(size, multiple), read_padded, write_cropped
