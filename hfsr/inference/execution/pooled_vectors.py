"""Constants of a network, and the vectors that are computed from pooled statistics."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

__all__ = ["Vectors"]


class Vectors:
    """Values of the nodes that are not feature maps; constants are looked up when first used.

    Args:
        module: the traced network.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self._modules = dict(module.named_modules())
        self._values: dict[fx.Node, Tensor] = {}

    def value(self, node: fx.Node) -> Tensor:
        if node not in self._values:
            self.compute(node)
        return self._values[node]

    def set(self, node: fx.Node, value: Tensor) -> None:
        """Sets the value of a node."""
        self._values[node] = value

    def compute(self, node: fx.Node) -> None:
        """Computes a node from the values of its inputs."""
        self._values[node] = self._compute(node)

    def _compute(self, node: fx.Node) -> Tensor:
        def load(argument: fx.Node) -> Any:
            return self.value(argument)

        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(self._modules[owner], name).detach()
        args = fx.node.map_arg(node.args, load)
        kwargs = fx.node.map_arg(node.kwargs, load)
        if node.op == "call_module":
            return self._modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]
