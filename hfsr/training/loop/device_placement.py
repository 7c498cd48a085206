"""Where networks and batches lie: on the device, in the memory order that was asked for."""

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
    """Of everything that a run computes with."""

    device: torch.device
    memory_format: torch.memory_format
    pin_memory: bool
    """Page-locked batches on a GPU."""

    @classmethod
    def of(cls, options: TrainOptions, device: torch.device) -> DevicePlacement:
        """What the options say, on this device."""
        order = torch.channels_last if options.use_channels_last else torch.contiguous_format
        return cls(device, order, training_section(options).pin_memory and device.type == "cuda")

    def network(self, network: nn.Module) -> nn.Module:
        """A network, placed; its parameters stay the same objects."""
        return network.to(self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def batch(self, batch: Batch) -> Batch:
        """A batch, placed; what is no image keeps its order."""
        if self.pin_memory:
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return {
            key: value.to(self.device, memory_format=self.memory_format, non_blocking=True)
            if value.ndim == 4
            else value.to(self.device, non_blocking=True)
            for key, value in batch.items()
        }
