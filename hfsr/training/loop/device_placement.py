"""Moves networks and batches to the device, in the memory format of the options."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hfsr.data import Batch
from hfsr.options import TrainOptions

from ..setup import training_section

__all__ = ["DevicePlacement"]


@dataclass(frozen=True)
class DevicePlacement:
    """Device and memory format of the networks and batches of a run."""

    device: torch.device
    memory_format: torch.memory_format
    pin_memory: bool
    """True to copy batches to the GPU from page-locked memory."""

    @classmethod
    def of(cls, options: TrainOptions, device: torch.device) -> DevicePlacement:
        """Returns the placement that the options request, on this device."""
        order = torch.channels_last if options.use_channels_last else torch.contiguous_format
        return cls(device, order, training_section(options).pin_memory and device.type == "cuda")

    def network(self, network: nn.Module) -> nn.Module:
        """Moves a network; its parameters stay the same objects."""
        return network.to(self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def batch(self, batch: Batch) -> Batch:
        """Moves a batch; the memory format applies to images only."""
        if self.pin_memory:
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return {
            key: value.to(self.device, memory_format=self.memory_format, non_blocking=True)
            if value.ndim == 4
            else value.to(self.device, non_blocking=True)
            for key, value in batch.items()
        }
