"""Image sizes that networks of other packages take: whole images are padded to their size multiple."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import HfsrError

__all__ = ["SizePadding", "find_size_multiple"]

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_LEAST_SIDE = 24
"""px: side of the image on which a multiple is tried, at least."""
_SIZE_ERRORS = (RuntimeError, AssertionError, ValueError, IndexError)
"""What networks raise for a size they do not take."""


def find_size_multiple(network: nn.Module, window: Any = None) -> int:
    """The smallest multiple of px that both sides of an image must have, found by running small images.

    Args:
        network: in evaluation mode, on its device.
        window: its window size, where the option file states one: tried after "any size".

    Raises:
        HfsrError: the network runs at none of them.
    """
    parameter = next(network.parameters(), torch.empty(0))
    stated = [window] if isinstance(window, int) and window > 1 else []
    failure: Exception | None = None
    for multiple in (1, *stated, *_MULTIPLES[1:]):
        side = multiple * -(-_LEAST_SIDE // multiple)
        if side % (2 * multiple) == 0:  # or a multiple of twice as many px would pass for this one
            side += multiple
        # Not square: some networks only take the sides they were built for.
        image = torch.zeros(1, 3, side, side + 2 * multiple, device=parameter.device, dtype=parameter.dtype)
        try:
            with torch.no_grad():
                network(image)
        except torch.OutOfMemoryError:
            raise
        except _SIZE_ERRORS as error:
            failure = failure or error
        else:
            return multiple
    reason = " ".join(str(failure).split())
    raise HfsrError(
        f"{type(network).__name__} does not restore whole images, of any size up to multiples of "
        f"{_MULTIPLES[-1]} px ({reason}); check network_g, or train without validation sets"
    ) from failure


class SizePadding:
    """Runs a network on images of any size: pads at the right and bottom, and crops the result.

    Args:
        network: takes and gives (1, C, H, W).
        multiple: of its sides; 1 pads nothing.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        self._network, self.multiple = network, multiple

    def __call__(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        bottom, right = (-side % self.multiple for side in (height, width))
        if not (bottom or right):
            result: Tensor = self._network(lq)
            return result
        # Mirrored, as BasicSR's SwinIRModel does; an image with fewer px than that repeats its edge.
        mode = "reflect" if bottom < height and right < width else "replicate"
        padded = F.pad(lq, (0, right, 0, bottom), mode=mode)
        result = self._network(padded)
        down, across = (result.shape[-2 + axis] / padded.shape[-2 + axis] for axis in (0, 1))
        return result[..., : round(height * down), : round(width * across)]
