"""Base class of the recipes: the interface between the engine and a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hfsr.checkpoints import load_weights
from hfsr.data import Batch
from hfsr.errors import CheckpointError, some_of
from hfsr.optim import LRSchedule
from hfsr.options import TrainOptions

from ..loop.ema import Ema
from .trainable_network import TrainableNetwork

__all__ = ["Recipe", "restore", "state_of"]


class Recipe(ABC):
    """The networks that are trained, by name, and the steps of one iteration.

    The engine saves and restores every learner, sets the learning rates before each step and updates the
    averages after it. `net_g` is the network that is validated and published. The learners hold all the
    state of a recipe: anything else that changes is a function of the iteration's number.
    """

    learners: dict[str, TrainableNetwork]
    """Learners by BasicSR's names: `net_g`, and in some recipes `net_d`, `net_dual`, ..."""
    criteria: Sequence[nn.Module] = ()
    """Losses with tensors, which move to the device."""
    options_read: ClassVar[frozenset[str] | None] = None
    """Places of the option file that this recipe reads and not every recipe does, as `train.gan_opt`. Places
    that only other recipes declare are refused. None for a recipe that does not declare them."""
    find_unused_parameters = False
    """True if parameters may have no gradient in some iterations; set by the engine."""

    @abstractmethod
    def __init__(self, options: TrainOptions, net_g: nn.Module) -> None:
        """Builds losses, further networks and learners from the options; `net_g` is on its device."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks without the wrappers that training uses."""
        return {name: learner.network for name, learner in self.learners.items()}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimizer for each network; after `prepare` as accelerate wraps it."""
        return {name: learner.optimizer for name, learner in self.learners.items()}

    @property
    def schedules(self) -> dict[str, LRSchedule]:
        """Factors on the learning rates of the optimizer of the same name."""
        return {name: learner.schedule for name, learner in self.learners.items()}

    @property
    def averages(self) -> dict[str, Ema]:
        """Averaged weights by network; validation uses those of `net_g`, if there are any."""
        return {name: each.average for name, each in self.learners.items() if each.average is not None}

    def prepare(self, accelerator: Accelerator) -> None:
        """Passes networks and optimizers to accelerate; called once, with the networks on their device."""
        self.accelerator = accelerator
        for learner in self.learners.values():
            learner.prepare(accelerator, find_unused=self.find_unused_parameters)
        for criterion in self.criteria:
            criterion.to(accelerator.device)

    @abstractmethod
    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, Tensor]:
        """Runs one iteration: forward pass, backward pass and update.

        Args:
            batches: one per accumulation step, on the device. Besides `lq` and `gt`, a batch may contain
                `scale` (one number, if the batches differ in scale) and `unpaired` (LQ patches without GT,
                from `datasets.unpaired`).
            iteration: number of the iteration, from 1.

        Returns:
            Detached scalars by BasicSR's names (`l_pix`), each the mean over the batches; every iteration
            and process returns the same names.
        """


def state_of(recipe: Recipe) -> dict[str, Any]:
    """Returns tensors and plain values from which `restore` continues the recipe exactly."""
    return {
        "networks": {name: network.state_dict() for name, network in recipe.networks.items()},
        "averages": {name: average.network.state_dict() for name, average in recipe.averages.items()},
        "optimizers": {
            name: optimizer.state_dict()["state"] for name, optimizer in recipe.optimizers.items()
        },
        "learning": {name: learner.learning for name, learner in recipe.learners.items()},
    }


def restore(recipe: Recipe, state: Mapping[str, Any], *, source: str) -> None:
    """Loads a saved state into a recipe before `prepare`.

    The state contains no hyperparameters: a lower learning rate in the option file takes effect, also for a
    group of parameters. It contains the trained parameters, because an optimizer state cannot be invented.

    Args:
        recipe: a recipe for the same networks.
        state: the result of `state_of`.
        source: description of the state, for the start of an error message.

    Raises:
        CheckpointError: if the state is of other networks, or of other trained parameters.
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
    for name, learner in recipe.learners.items():
        learned = state.get("learning", {}).get(name, learner.learning)  # missing in old states
        _check_learning(name, learner, learned, source)
        counted = {before: learner.learning.index(parameter) for before, parameter in enumerate(learned)}
        moments = {counted[before]: values for before, values in state["optimizers"][name].items()}
        learner.optimizer.load_state_dict({**learner.optimizer.state_dict(), "state": moments})


def _check_learning(name: str, learner: TrainableNetwork, learned: Sequence[str], source: str) -> None:
    new = [parameter for parameter in learner.learning if parameter not in learned]
    gone = [parameter for parameter in learned if parameter not in learner.learning]
    if new or gone:
        what = f"did not train {some_of(new)}" if new else f"trained {some_of(gone)} too"
        raise CheckpointError(
            f"{source} {what} of {name}: set train.param_groups back, or start under another name from its "
            f"weights (path.pretrain_network_{name.removeprefix('net_')})"
        )
