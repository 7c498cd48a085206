"""Stops a run with infinite or NaN values before they are saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from hfsr.errors import HfsrError

from ..recipes import Recipe
from ..state.training_state import find_states

__all__ = ["FiniteCheck"]


class FiniteCheck:
    """Checks losses and weights; both checks give the same result in every process.

    Args:
        states: folder of the run's states; the message names the newest one.
    """

    def __init__(self, states: Path) -> None:
        self._states = states

    def check_losses(self, losses: Mapping[str, float], iteration: int) -> None:
        """Checks the losses.

        Raises:
            HfsrError: if one of them is infinite or not a number.
        """
        for name, value in losses.items():
            if not math.isfinite(value):
                raise self._broken(f"the loss {name}", iteration)

    def check_weights(self, recipe: Recipe, iteration: int) -> None:
        """Checks weights, buffers and averages: the last update can spoil them while the losses are finite.

        Raises:
            HfsrError: if one of them is infinite or not a number.
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
            advice += f", and resume from the last good state, '{states[0]}', with --auto_resume"
        else:
            advice += "; no training state was saved before, so the run starts from the beginning"
        return HfsrError(f"{what} is no longer a number at iteration {iteration}; {advice}")
