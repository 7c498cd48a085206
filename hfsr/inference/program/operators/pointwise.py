"""Operators that treat every px by itself."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from ..geometry import Region
from .base import MapOperator, Workspace

__all__ = ["OVER_CHANNELS", "Pointwise"]


class Pointwise(MapOperator):
    """Anything that treats every px by itself: activations, arithmetic, concatenation, channel slices."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], function: Callable[..., Any]) -> None:
        super().__init__(node, sources)
        self.function = function

    def channels(self, sources: list[int]) -> int:
        if self.node.target is torch.cat:
            return sum(sources)
        if self.node.target is operator.getitem:
            channels: Any = self.node.args[1]
            return len(range(sources[0])[channels[1]])
        if self.node.target in OVER_CHANNELS:
            return 1
        return max(sources)

    def prepare(self, device: torch.device) -> None:
        if isinstance(self.function, nn.Module):
            self.function = copy.deepcopy(self.function).to(device=device, dtype=self.compute)

    def run_into(self, region: Region, work: Workspace, out: Tensor) -> None:
        write = _OUT_VARIANTS.get(self.node.target)
        if isinstance(self.function, nn.ReLU):
            torch.clamp_min(self._load(self.sources[0], region, work), 0, out=out)
        elif isinstance(self.function, nn.LeakyReLU):
            x = self._load(self.sources[0], region, work)
            torch.ops.aten.leaky_relu.out(x, self.function.negative_slope, out=out)
        elif write is None:
            super().run_into(region, work, out)
        else:
            args = fx.node.map_arg(self.node.args, lambda node: self._load(node, region, work))
            write(*args, **self.node.kwargs, out=out)

    def _load(self, node: fx.Node, region: Region, work: Workspace) -> Tensor:
        value = work.patch(node, region) if node in self.sources else work.value(node)
        return value if self.compute is None else value.to(self.compute)

    def run(self, region: Region, work: Workspace) -> Tensor:
        def load(node: fx.Node) -> Tensor:
            return self._load(node, region, work)

        if self.overwrites is not None and self.node.target in _IN_PLACE:
            target = load(self.overwrites)
            others = [
                load(a) if isinstance(a, fx.Node) else a for a in self.node.args if a is not self.overwrites
            ]
            return _IN_PLACE[self.node.target](target, *others)
        if self.overwrites is not None and isinstance(self.function, (nn.ReLU, nn.LeakyReLU)):
            slope = getattr(self.function, "negative_slope", 0.0)
            return F.leaky_relu_(load(self.overwrites), slope) if slope else load(self.overwrites).relu_()
        args = fx.node.map_arg(self.node.args, load)
        kwargs = fx.node.map_arg(self.node.kwargs, load)
        return self.function(*args, **kwargs)


_IN_PLACE: dict[Any, Callable[..., Tensor]] = {
    operator.add: Tensor.add_,
    torch.relu: Tensor.relu_,
    F.relu: Tensor.relu_,
    torch.sigmoid: Tensor.sigmoid_,
}
"""Functions whose result may take the place of one input."""

_OUT_VARIANTS: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    torch.add: torch.add,
    operator.mul: torch.mul,
    operator.sub: torch.sub,
    torch.cat: torch.cat,
    torch.addcmul: torch.addcmul,
}
"""Functions that can put their result straight where it is kept."""


OVER_CHANNELS = (torch.amax, torch.amin, torch.mean, "amax", "amin", "mean")
"""Functions that make one channel of all channels."""
