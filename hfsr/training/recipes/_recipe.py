"""The contract between the engine and a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hfsr.checkpoints import load_weights
from hfsr.data import Batch
from hfsr.errors import CheckpointError, some_of
from hfsr.optim import Schedule
from hfsr.options import TrainOptions

from ..ema import Ema

__all__ = ["Recipe", "prepare_pair", "restore", "state_of"]


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


def prepare_pair(
    accelerator: Accelerator, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and its optimizer as accelerate wraps them."""
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    if isinstance(wrapped, DistributedDataParallel):
        # Every process updates its own buffers and the main one's are saved; sending them round at each step
        # costs time, and fails for a lone buffer in channels-last order.
        wrapped.broadcast_buffers = False
    return wrapped, optimizer


def state_of(recipe: Recipe) -> dict[str, Any]:
    """Tensors and plain values from which `restore` makes the recipe go on exactly."""
    return {
        "networks": {name: network.state_dict() for name, network in recipe.networks.items()},
        "averages": {name: average.network.state_dict() for name, average in recipe.averages.items()},
        "optimizers": {
            name: optimizer.state_dict()["state"] for name, optimizer in recipe.optimizers.items()
        },
    }


def restore(recipe: Recipe, state: Mapping[str, Any], *, source: str) -> None:
    """Puts a saved state into a recipe that is built but not prepared.

    Hyperparameters are not part of the state: a lower learning rate in the option file counts.

    Args:
        recipe: built from options of the same networks.
        state: from `state_of`.
        source: where it comes from, to begin an error message.

    Raises:
        CheckpointError: the state is of other networks.
    """
    if recipe.networks.keys() != state["networks"].keys():
        raise CheckpointError(
            f"{source} has the networks {some_of(state['networks'])}, this run {some_of(recipe.networks)}: "
            "start it under another name"
        )
    for name, network in recipe.networks.items():
        load_weights(network, state["networks"][name], source=source)
    for name, average in recipe.averages.items():
        load_weights(average.network, state["averages"].get(name, state["networks"][name]), source=source)
    for name, optimizer in recipe.optimizers.items():
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state["optimizers"][name]})
