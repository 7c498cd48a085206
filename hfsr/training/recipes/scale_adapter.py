"""Runs any method of a network in training, at any of its scales."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import model_zoo
from hfsr.errors import OptionsError
from hfsr.options import TrainOptions
from hfsr.registry import ARCHS

__all__ = ["ScaleAdapter", "check_scales", "leaves_some_idle"]


class ScaleAdapter(nn.Module):
    """Runs a method of a network as a call, at the network's scale or at another.

    DDP and mixed precision wrap the `forward` of a module, so every call goes through that of this class.
    The networks of other scales share the parameters of the given one. They exist for networks whose weights
    serve every scale (VDSR, MDSR, MS-LapSRN), unless `forward` takes the scale (Meta-RDN).

    Args:
        network: the network; shared, not copied.
        method: name of a method that takes a batch of images.
    """

    def __init__(self, network: nn.Module, method: str = "forward") -> None:
        super().__init__()
        self.network, self.method = network, method
        self._others: dict[float, nn.Module] = {}  # in a dict, so that they are not submodules

    def check(self, scale: float) -> None:
        """Checks that the network can run at a scale.

        Raises:
            OptionsError: if it cannot.
        """
        name = type(self.network).__name__
        if scale == self.network.scale or self._takes_scale():
            return
        if name not in ARCHS or not ARCHS[name].multi_scale:
            raise OptionsError(f"{name} has weights for one scale, x{self.network.scale:g}; train it on that")

    def forward(self, x: Any, scale: float | None = None) -> Any:
        """Args: x: argument of the method. scale: a scale other than the network's own."""
        if scale is None or scale == getattr(self.network, "scale", scale):
            return getattr(self.network, self.method)(x)
        if self._takes_scale():
            return self.network(x, scale)
        if scale not in self._others:
            self._others[scale] = self._at(scale)
        return getattr(self._others[scale], self.method)(x)

    def _takes_scale(self) -> bool:
        return self.method == "forward" and "upscale" in inspect.signature(self.network.forward).parameters

    def _at(self, scale: float) -> nn.Module:
        self.check(scale)
        arguments = {**vars(self.network)["model_args"], "upscale": scale}
        other = model_zoo.build(type(self.network).__name__, **arguments).to(
            next(self.network.parameters()).device
        )
        for path, module in self.network.named_modules():
            for key, parameter in module.named_parameters(recurse=False):
                setattr(other.get_submodule(path), key, parameter)
        return other.train(self.network.training)


def check_scales(options: TrainOptions, running: ScaleAdapter | None = None) -> None:
    """Rejects `datasets.train.scales` that cannot be trained, before the first batch uses one of them.

    Args:
        options: the option file.
        running: the network; None for recipes with one scale.

    Raises:
        OptionsError: if the network has weights for one scale, or the recipe trains at one scale.
    """
    scales = options.datasets["train"].arguments.get("scales") if "train" in options.datasets else None
    if scales and running is None:
        raise OptionsError(f"datasets.train.scales: {options.model_type} trains at one scale; leave it out")
    for scale in scales or ():
        running.check(scale)  # type: ignore[union-attr]


def leaves_some_idle(running: ScaleAdapter) -> bool:
    """Returns True if one pass leaves parameters without gradients, as in MDSR; DDP must know that."""
    network = running.network
    if type(network).__name__ not in ARCHS or not ARCHS[type(network).__name__].multi_scale:
        return False
    trial = copy.deepcopy(network)
    trial.zero_grad()
    first = next(trial.parameters())
    results: Tensor | list[Tensor] = getattr(trial, running.method)(
        torch.rand(1, 3, 8, 8, device=first.device, dtype=first.dtype)
    )
    sum(result.sum() for result in ([results] if isinstance(results, Tensor) else results)).backward()  # type: ignore[union-attr]
    return any(p.grad is None for p in trial.parameters() if p.requires_grad)
