"""Protocols of image sources and result sinks, with their implementations for tensors."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..program.geometry import Region, Size

__all__ = ["ImageSink", "ImageSource", "TensorSink", "TensorSource"]


class ImageSource(Protocol):
    """An image that is read region by region."""

    @property
    def size(self) -> Size:
        """Size of the image."""

    def read(self, region: Region) -> Tensor:
        """A region: RGB float32 in [0, 1], (1, 3, height, width), on the device of the network."""


class ImageSink(Protocol):
    """Receiver of a result, region by region."""

    def write(self, region: Region, part: Tensor) -> None:
        """Receives a region in output px, each px once.

        Args:
            region: of the result.
            part: RGB float32, nominally in [0, 1], (1, 3, height, width), on the device of the network.
        """


class TensorSource:
    """An image in a tensor, RGB in [0, 1], (1, 3, H, W), on any device.

    Args:
        x: the image.
        device: of the network.
    """

    def __init__(self, x: Tensor, device: torch.device | str = "cpu") -> None:
        self._x = x
        self._device = device
        self.size = Size(*x.shape[-2:])

    def read(self, region: Region) -> Tensor:
        part = self._x[..., region.top : region.bottom, region.left : region.right]
        return part.to(self._device, torch.float32)


class TensorSink:
    """A result in a float32 tensor on the CPU, (1, 3, H, W)."""

    def __init__(self, result: Tensor) -> None:
        self.result = result

    def convert(self, part: Tensor) -> Tensor:
        """The part as it is copied from the device: unchanged."""
        return part

    def write(self, region: Region, part: Tensor) -> None:
        self.result[..., region.top : region.bottom, region.left : region.right] = part
