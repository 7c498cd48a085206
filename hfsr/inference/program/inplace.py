"""Separation of operators that work in place, which a graph of values cannot express."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from hfsr.errors import PlanError

__all__ = ["is_inplace", "separate_inplace"]

_INPLACE_FUNCTIONS = (operator.iadd, operator.isub, operator.imul, operator.itruediv, F.leaky_relu_)
_INPLACE_ARGUMENT = {F.relu: 1, F.leaky_relu: 2, F.silu: 1}
"""Position of the argument `inplace` in the activations of torch.nn.functional that can be tiled."""
_SHARING_MODULES = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Unflatten)
"""Modules that return their input, or a view of it."""
_VIEWS = ("reshape", "permute", "transpose", "chunk", "split", "narrow")
_SHARING_FUNCTIONS = (operator.getitem, "view", *_VIEWS, *(getattr(torch, name) for name in _VIEWS))


def separate_inplace(graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
    """Makes later readers of an overwritten tensor read the result of the operator that overwrote it.

    Torch overwrites the input. In a graph of values, later readers would see it as it was before.

    Args:
        graph: a traced graph, changed in place.
        modules: the modules that it calls, by name.

    Raises:
        PlanError: the overwritten tensor shares its memory with another one, as a slice does.
    """
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if not is_inplace(node, modules):
            continue
        source = node.all_input_nodes[0]
        relatives = [source, *(user for user in source.users if order[user] < order[node])]
        if any(_shares_memory(relative, modules) for relative in relatives):
            raise PlanError(
                f"'{node.name}' works in place on a tensor that shares its memory with another one, which "
                "cannot be tiled; use inplace=False, or run this network whole (tile 0)"
            )
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)


def is_inplace(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Returns True for a node that writes its result over its first input."""
    target: Any = node.target
    if node.op == "call_module":
        return bool(getattr(modules[str(target)], "inplace", False))
    if node.op == "call_method":
        return str(target).endswith("_")
    if node.op != "call_function":
        return False
    place = _INPLACE_ARGUMENT.get(target, len(node.args))
    stated = node.args[place] if place < len(node.args) else False
    return target in _INPLACE_FUNCTIONS or bool(node.kwargs.get("inplace", stated))


def _shares_memory(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], _SHARING_MODULES)
    return node.target in _SHARING_FUNCTIONS
