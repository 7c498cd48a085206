"""Stops a run whose numbers are no longer numbers, before anything of it is saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from hfsr.errors import HfsrError

from ..recipes import Recipe
from ..state.training_state import find_states

__all__ = ["FiniteCheck"]


class FiniteCheck:
    """Both checks give the same verdict in every process.

    Args:
        states: folder of the run's states, of which the message names the newest.
    """

    def __init__(self, states: Path) -> None:
        self._states = states

    def check_losses(self, losses: Mapping[str, float], iteration: int) -> None:
        """
        Raises:
            HfsrError: one is infinite or not a number.
        """
        for name, value in losses.items():
            if not math.isfinite(value):
                raise self._broken(f"the loss {name}", iteration)

    def check_weights(self, recipe: Recipe, iteration: int) -> None:
        """A last step can spoil weights, statistics or averages while the losses before it were numbers.

        Raises:
            HfsrError: one is infinite or not a number.
        """
        averages = {f"{name} (averaged)": average.network for name, average in recipe.averages.items()}
        for name, network in {**recipe.networks, **averages}.items():
            for weight, tensor in network.state_dict().items():
                if not bool(tensor.isfinite().all()):
                    raise self._broken(f"the weight {name}.{weight}", iteration)

    def _broken(self, what: str, iteration: int) -> HfsrError:
        advice = "lower train.optim_g.lr or set train.clip_grad_norm"
        states = find_states(self._states)
        if states:
            advice += f", and go on from the last good state, '{states[0]}', with --auto_resume"
        else:
            advice += "; no training state was saved before, so the run starts from the beginning"
        return HfsrError(f"{what} is no longer a number at iteration {iteration}; {advice}")
