"""Pads whole images for third-party networks whose image sides must be multiples of a number of px."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import HfsrError

__all__ = ["SizePadding", "find_size_multiple"]

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_LEAST_SIDE = 24
"""Minimum side in px of the images on which a multiple is tried."""
_SIZE_ERRORS = (RuntimeError, AssertionError, ValueError, IndexError)
"""Errors that networks raise for a size that they do not take."""


def find_size_multiple(network: nn.Module, window: Any = None) -> int:
    """Finds the smallest number of px of which both image sides must be multiples, by running small images.

    Args:
        network: the network in evaluation mode, on its device.
        window: window size in the option file, if stated; tried after "any size".

    Raises:
        HfsrError: if the network runs at none of them.
    """
    parameter = next(network.parameters(), torch.empty(0))
    stated = [window] if isinstance(window, int) and window > 1 else []
    failure: Exception | None = None
    for multiple in (1, *stated, *_MULTIPLES[1:]):
        side = multiple * -(-_LEAST_SIDE // multiple)
        if side % (2 * multiple) == 0:  # otherwise a network that needs twice the multiple would pass
            side += multiple
        # Not square: some networks only take the image size that they were built for.
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
        f"{type(network).__name__} does not restore whole images with sides of any multiple up to "
        f"{_MULTIPLES[-1]} px ({reason}); check network_g, or train without validation sets"
    ) from failure


class SizePadding:
    """Runs a network on images of any size: pads at the right and bottom, and crops the result.

    Args:
        network: takes and returns (1, C, H, W).
        multiple: number of px of which the sides must be multiples; 1 pads nothing.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        self._network, self.multiple = network, multiple

    def __call__(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        bottom, right = (-side % self.multiple for side in (height, width))
        if not (bottom or right):
            result: Tensor = self._network(lq)
            return result
        # Mirrored, as BasicSR's SwinIRModel does; edges of images with fewer px are repeated.
        mode = "reflect" if bottom < height and right < width else "replicate"
        padded = F.pad(lq, (0, right, 0, bottom), mode=mode)
        result = self._network(padded)
        down, across = (result.shape[-2 + axis] / padded.shape[-2 + axis] for axis in (0, 1))
        return result[..., : round(height * down), : round(width * across)]
