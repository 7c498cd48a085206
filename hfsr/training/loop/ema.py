"""Averaged weights (exponential moving average)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """Exponential moving average of parameters and floating-point buffers; other buffers are copied.

    Args:
        network: the network that is trained.
        decay: share of the old average that an update keeps. It is smaller in the first updates, so that the
            random initialization does not linger (`(1 + n) / (10 + n)` at update n, while that is smaller).
    """

    network: nn.Module
    """The average, in evaluation mode."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._source = network

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Moves the average towards the network.

        Args:
            number: number of this update, from 1.
        """
        # Looked up each time: moving a network between devices or memory formats replaces its tensors.
        pairs = list(zip(_tensors(self.network), _tensors(self._source), strict=True))
        moving = [(ours, theirs) for ours, theirs in pairs if ours.is_floating_point()]
        if moving:
            ours, theirs = zip(*moving, strict=True)
            decay = min(self.decay, (1 + number) / (10 + number))
            torch._foreach_lerp_(list(ours), list(theirs), 1 - decay)
        for own, their in pairs:
            if not own.is_floating_point():
                own.copy_(their)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
