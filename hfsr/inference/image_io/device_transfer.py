"""Copies between arrays and the device; on a GPU through pinned memory, while it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..program.geometry import Region

__all__ = ["HostSink", "OverlappedTransfer", "ResultTransfer", "to_device"]

_TRANSFER_DTYPE = {"uint8": torch.uint8, "uint16": torch.int32, "float32": torch.float32}
"""Dtype in which an array is copied: torch lacks arithmetic for uint16."""


def to_device(part: NDArray, device: torch.device) -> Tensor:
    """Copies a part of an array to the device as float32; under CUDA the conversion happens there.

    Args:
        part: uint8, uint16 or float32, any shape.
        device: the device of the result.
    """
    if device.type != "cuda":
        return torch.from_numpy(part.astype(np.float32)).to(device)
    host = _pinned(part.shape, _TRANSFER_DTYPE[part.dtype.name])
    np.copyto(host.numpy(), part)
    return host.to(device, non_blocking=True).float()


def _pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Page-locked host memory, which a GPU copies asynchronously."""
    return torch.empty(*shape, dtype=dtype, pin_memory=True)


class HostSink(Protocol):
    """Receiver of a result on the CPU, which chooses what is copied there."""

    def convert(self, part: Tensor) -> Tensor:
        """Converts a part of the result, on the device, to what is copied: fewer bytes than floats."""

    def write(self, region: Region, part: Tensor) -> None:
        """Receives a converted part on the CPU."""


class ResultTransfer:
    """Image sink that copies a result from the device to a sink on the CPU.

    Args:
        device: where the result is computed.
        sink: receives the result.
    """

    def __init__(self, device: torch.device, sink: HostSink) -> None:
        self._sink = sink
        self._overlapped = OverlappedTransfer(device, sink.write) if device.type == "cuda" else None

    def write(self, region: Region, part: Tensor) -> None:
        (self._overlapped or self._sink).write(region, self._sink.convert(part))

    def finish(self) -> None:
        """Waits until all parts have arrived."""
        if self._overlapped is not None:
            self._overlapped.finish()


class OverlappedTransfer:
    """Copies results from a GPU to the CPU while the next one is computed.

    Each result is copied on a separate stream and passed on when the next one arrives, or at `finish`.

    Args:
        device: a CUDA device.
        write: receives each region and its values, in order, on the CPU.
    """

    def __init__(self, device: torch.device, write: Callable[[Region, Tensor], None]) -> None:
        self._write = write
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pending: tuple[Region, Tensor, torch.cuda.Event] | None = None

    def write(self, region: Region, part: Tensor) -> None:
        """Starts to copy a part of the result, which is on the GPU."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            host = _pinned(part.shape, part.dtype)
            host.copy_(part, non_blocking=True)
            part.record_stream(self._stream)
            copied = torch.cuda.Event()
            copied.record(self._stream)
        self.finish()
        self._pending = (region, host, copied)

    def finish(self) -> None:
        """Waits for the pending copy and passes it on."""
        if self._pending is not None:
            region, host, copied = self._pending
            self._pending = None
            copied.synchronize()
            self._write(region, host)
