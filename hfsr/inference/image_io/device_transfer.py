"""To the device and back. On a GPU both ways go through pinned memory, and beside the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..program.geometry import Region

__all__ = ["Overlapped", "to_device"]

Take = Callable[[Region, Tensor], None]

_CARRIED = {"uint8": torch.uint8, "uint16": torch.int32, "float32": torch.float32}
"""As what a type of arrays travels: torch lacks arithmetic for 16 bit without a sign."""


def to_device(part: NDArray, device: torch.device) -> Tensor:
    """A part of an array as float32 on the device; on a GPU it is widened there, not on its way.

    Args:
        part: uint8, uint16 or float32, any shape.
    """
    if device.type != "cuda":
        return torch.from_numpy(part.astype(np.float32))
    host = _pinned(part.shape, _CARRIED[part.dtype.name])
    np.copyto(host.numpy(), part)
    return host.to(device, non_blocking=True).float()


def _pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory that a GPU copies from and to by itself, while the processor goes on."""
    return torch.empty(*shape, dtype=dtype, pin_memory=True)


class Overlapped:
    """Brings results from a GPU to the CPU while the next one is computed.

    Each is copied by a stream of its own, and handed on when the next one has been given, or at `finish`.

    Args:
        device: a CUDA device.
        take: is given each region and its values, in order, on the CPU.
    """

    def __init__(self, device: torch.device, take: Take) -> None:
        self._take = take
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._waiting: tuple[Region, Tensor, torch.cuda.Event] | None = None

    def write(self, r: Region, part: Tensor) -> None:
        """Takes a part of the result on the GPU."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            host = _pinned(part.shape, part.dtype)
            host.copy_(part, non_blocking=True)
            part.record_stream(self._stream)
            copied = torch.cuda.Event()
            copied.record(self._stream)
        self.finish()
        self._waiting = (r, host, copied)

    def finish(self) -> None:
        """Hands on what is still on its way."""
        if self._waiting is not None:
            region, host, copied = self._waiting
            self._waiting = None
            copied.synchronize()
            self._take(region, host)
