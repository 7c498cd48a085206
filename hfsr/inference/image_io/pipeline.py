"""ImagePipeline and arrays through what runs images of floats: opacity apart, each result in its own type."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hfsr import images

from ..execution.feature_store import Read, Write
from ..program.geometry import Region, Size
from ..progress import Progress, one_pass
from .pixel_source import PixelSource, RowAssembler, allocate_result

__all__ = ["ImagePipeline", "Ready"]

Ready = Callable[[Tensor], Tensor]
"""Makes of a part of the result what is to leave the device."""
Put = Callable[[Region, NDArray], None]
"""Takes a part of the result, in output px and in the picture's own type."""


@dataclass(frozen=True)
class ImagePipeline:
    """Runs pictures; every method yields progress.

    Attributes:
        run: runs an image of this size, which it reads and whose result it writes region by region, made
            ready on the device before.
        result_size: of an image of this size.
        device: what images are read to.
    """

    run: Callable[[Size, Read, Write, Ready], Iterator[Progress]]
    result_size: Callable[[Size], Size]
    device: torch.device

    def whole(self, picture: images.Picture) -> Generator[Progress, None, images.Picture]:
        """Returns the result of a picture."""
        height, width = self.result_size(Size(picture.height, picture.width))
        pixels = allocate_result((height, width, *picture.pixels.shape[2:]), picture.pixels.dtype)
        alpha = yield from self._put_steps(picture, lambda _: _into(pixels))
        return replace(picture, pixels=pixels, alpha=alpha)

    def rows(
        self, picture: images.Picture, take: Callable[[NDArray], None]
    ) -> Generator[Progress, None, None]:
        """Hands over the rows of the result as they come, alpha beside the colours."""
        width = self.result_size(Size(picture.height, picture.width)).width
        yield from self._put_steps(picture, lambda alpha: RowAssembler(width, take, alpha).write)

    def array(self, array: NDArray) -> Generator[Progress, None, NDArray]:
        """Returns the result of an array, in its type."""
        pixels = PixelSource(array, self.device)
        result = allocate_result((*self.result_size(pixels.size), *array.shape[2:]), array.dtype)
        yield from self._pixel_steps(pixels, _into(result))
        return result

    def _put_steps(
        self, picture: images.Picture, put_beside: Callable[[NDArray | None], Put]
    ) -> Generator[Progress, None, NDArray | None]:
        """Runs a picture and returns the alpha of the result, which `put_beside` is given before the colours.

        Opacity runs by itself first, then the colours, underlaid where they cannot be seen.
        """
        alpha = picture.alpha
        if alpha is None or alpha.min() == alpha.max():
            size = self.result_size(Size(picture.height, picture.width))
            same = None if alpha is None else np.broadcast_to(alpha[0, 0], size)
            yield from self._pixel_steps(PixelSource(picture.pixels, self.device), put_beside(same))
            return same
        enlarged = yield from one_pass(0, 2, self.array(alpha))
        pixels = PixelSource(images.underlaid(picture.pixels, alpha), self.device)
        yield from one_pass(1, 2, self._pixel_steps(pixels, put_beside(enlarged)))
        return enlarged

    def _pixel_steps(self, pixels: PixelSource, put: Put) -> Generator[Progress, None, None]:
        """Runs an array and hands over each part of the result."""

        def write(r: Region, values: Tensor) -> None:
            put(r, pixels.taken(values))

        yield from self.run(pixels.size, pixels.read, write, pixels.ready)


def _into(array: NDArray) -> Put:
    """Puts every part of a result into its place."""

    def put(r: Region, values: NDArray) -> None:
        array[r.top : r.bottom, r.left : r.right] = values

    return put
