"""Allocation of feature maps and rows: on the device, in pinned host memory, or in temporary files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, fx

from ..program.sized_program import SizedProgram

__all__ = ["Allocator"]

_NEVER_SPILLED = 16 << 20
"""Bytes up to which a live feature map always stays on the device."""


class Allocator:
    """Allocates memory for feature maps, in NHWC layout.

    Args:
        sized: source of the channels, dtype and size of a feature map.
        device: device of the feature maps.
        spill: destination of large live feature maps: a folder, "host" for pinned memory, or None.
    """

    def __init__(self, sized: SizedProgram, device: torch.device, spill: Path | str | None) -> None:
        self._sized = sized
        self._device = device
        self._spill = spill
        self._scratch: dict[torch.dtype, Tensor] = {}

    def rows(self, node: fx.Node, height: int, width: int) -> Tensor:
        """Allocates rows of a feature map, (1, C, height, width)."""
        shape = (1, height, width, self._sized.program.channels[node])
        dtype = self._sized.operators[node].dtype
        return torch.empty(shape, dtype=dtype, device=self._device).permute(0, 3, 1, 2)

    def scratch(self, node: fx.Node, height: int, width: int) -> Tensor:
        """Returns memory as `rows` does, valid until the next call: it is reused, so it stays cached."""
        if self._device.type != "cpu":
            return self.rows(node, height, width)
        channels, dtype = self._sized.program.channels[node], self._sized.operators[node].dtype
        count = height * width * channels
        scratch = self._scratch.pop(dtype, None)
        if scratch is None or scratch.numel() < count:
            del scratch  # freed before the larger one is allocated
            scratch = torch.empty(count, dtype=dtype)
        self._scratch[dtype] = scratch
        return scratch[:count].view(1, height, width, channels).permute(0, 3, 1, 2)

    def free_scratch(self) -> None:
        """Frees the scratch memory."""
        self._scratch.clear()

    def live(self, node: fx.Node) -> Tensor:
        """Allocates a whole feature map, spilled if it is large."""
        size, channels = self._sized.sizes[node], self._sized.program.channels[node]
        if not self.is_spilled(node):
            return self.rows(node, *size)
        folder, dtype = self._spill, self._sized.operators[node].dtype
        shape, count = (1, *size, channels), size.height * size.width * channels
        if folder == "host":
            return torch.empty(shape, dtype=dtype, pin_memory=True).permute(0, 3, 1, 2)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="hfsr-") as file:
            # The mapping outlives the file name: the file is deleted with the tensor.
            file.truncate(count * dtype.itemsize)
            mapped = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
        return mapped.view(shape).permute(0, 3, 1, 2)

    def is_spilled(self, node: fx.Node) -> bool:
        """Returns True if a live feature map does not stay on the device."""
        return self._spill is not None and self._sized.map_bytes(node) > _NEVER_SPILLED
