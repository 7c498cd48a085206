"""The contract between the engine and a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hfsr.data import Batch
from hfsr.optim import Schedule
from hfsr.options import TrainOptions

from ..ema import Ema

__all__ = ["Recipe"]


class Recipe(ABC):
    """Networks, their optimizers and schedules by name, and what one iteration does with a batch.

    The engine saves and restores everything in these mappings, sets the learning rates before each step and
    updates the averages after it. `net_g` is the network that is validated and published.
    """

    networks: dict[str, nn.Module]
    """By BasicSR's names (`net_g`, `net_d`), as built: training runs through wrappers of them."""
    optimizers: dict[str, torch.optim.Optimizer]
    schedules: dict[str, Schedule]
    """Factor on the learning rate of the optimizer of the same name."""
    averages: dict[str, Ema]
    """Averaged weights by network; those of `net_g` are validated where there are any."""

    @abstractmethod
    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        """Builds the losses, further networks and optimizers that the options name."""

    @abstractmethod
    def prepare(self, accelerator: Accelerator) -> None:
        """Hands networks and optimizers to accelerate; called once, with the networks on their device."""

    @abstractmethod
    def step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One iteration: forward, backward and update.

        Args:
            batches: one per accumulation step, on the device.

        Returns:
            Detached scalars by BasicSR's names (`l_pix`), each the mean over the batches.
        """
