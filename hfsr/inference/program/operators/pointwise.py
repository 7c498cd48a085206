"""Pointwise operators: each output px depends on the input px at the same position."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from ..geometry import Region
from .base import Operator, OperatorInputs

__all__ = ["CHANNEL_REDUCTIONS", "Pointwise", "concat_inputs"]


def concat_inputs(node: fx.Node) -> list[fx.Node]:
    """Returns the inputs of a concatenation, in order; empty for other operators."""
    if node.target is not torch.cat:
        return []
    inputs: Any = node.args[0] if node.args else node.kwargs["tensors"]
    return list(inputs)


class Pointwise(Operator):
    """Activations, arithmetic, concatenation, channel slices and reductions over channels."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], function: Callable[..., Any]) -> None:
        super().__init__(node, sources)
        self.function = function

    def channels(self, sources: list[int]) -> int:
        if self.node.target is torch.cat:  # which may take one feature map several times
            channels_of = dict(zip(self.sources, sources, strict=True))
            return sum(channels_of[node] for node in concat_inputs(self.node))
        if self.node.target is operator.getitem:
            channels: Any = self.node.args[1]
            return len(range(sources[0])[channels[1]])
        if self.node.target in CHANNEL_REDUCTIONS:
            return 1
        return max(sources)

    def _load_weights(self, device: torch.device) -> None:
        if isinstance(self.function, nn.Module):
            self.function = copy.deepcopy(self.function).to(device=device, dtype=self.compute_dtype)

    def run_into(self, region: Region, inputs: OperatorInputs, out: Tensor) -> None:
        write = _OUT_VARIANTS.get(self.node.target)
        if isinstance(self.function, nn.ReLU):
            torch.clamp_min(self._load(self.sources[0], region, inputs), 0, out=out)
        elif isinstance(self.function, nn.LeakyReLU):
            x = self._load(self.sources[0], region, inputs)
            torch.ops.aten.leaky_relu.out(x, self.function.negative_slope, out=out)
        elif write is None:
            super().run_into(region, inputs, out)
        else:
            args = fx.node.map_arg(self.node.args, lambda node: self._load(node, region, inputs))
            write(*args, **self.node.kwargs, out=out)

    def _load(self, node: fx.Node, region: Region, inputs: OperatorInputs) -> Tensor:
        value = inputs.feature(node, region) if node in self.sources else inputs.value(node)
        return value if self.compute_dtype is None else value.to(self.compute_dtype)

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        def load(node: fx.Node) -> Tensor:
            return self._load(node, region, inputs)

        if self.inplace_source is not None and self.node.target in _IN_PLACE:
            target = load(self.inplace_source)
            others = [a for a in self.node.args if a is not self.inplace_source]
            others = [load(a) if isinstance(a, fx.Node) else a for a in others]
            return _IN_PLACE[self.node.target](target, *others)
        if self.inplace_source is not None and isinstance(self.function, (nn.ReLU, nn.LeakyReLU)):
            slope, x = getattr(self.function, "negative_slope", 0.0), load(self.inplace_source)
            return F.leaky_relu_(x, slope) if slope else x.relu_()
        args = fx.node.map_arg(self.node.args, load)
        kwargs = fx.node.map_arg(self.node.kwargs, load)
        return self.function(*args, **kwargs)


_IN_PLACE: dict[Any, Callable[..., Tensor]] = {
    operator.add: Tensor.add_,
    torch.relu: Tensor.relu_,
    F.relu: Tensor.relu_,
    torch.sigmoid: Tensor.sigmoid_,
}
"""In-place variants of functions, for a source whose memory the output may reuse."""

_OUT_VARIANTS: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    torch.add: torch.add,
    operator.mul: torch.mul,
    operator.sub: torch.sub,
    torch.cat: torch.cat,
    torch.addcmul: torch.addcmul,
}
"""Variants of functions that write their output into a given tensor."""


CHANNEL_REDUCTIONS = (torch.amax, torch.amin, torch.mean, "amax", "amin", "mean")
"""Functions that reduce all channels to one."""
