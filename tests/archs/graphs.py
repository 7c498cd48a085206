"""What the tests read off a network's graph: its trace, its pools, how far it really sees."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from hfsr.archs import BlurPool, Enlargement, PositionalEnlargement
from hfsr.model_zoo import create_model, presets


class CoreTracer(fx.Tracer):
    """Traces `core`; an enlargement or a blur is one node, as the planner has it."""

    traced_func_name = "core"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, (BlurPool, Enlargement, PositionalEnlargement))
        return ours or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.GraphModule:
    """The network's `core` as a graph, traced without an input."""
    return fx.GraphModule(model, CoreTracer().trace(model))


def pools(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes that average over the whole image."""
    modules = dict(graph.named_modules())
    return [
        node
        for node in graph.graph.nodes
        if (node.op == "call_module" and isinstance(modules[node.target], nn.AdaptiveAvgPool2d))
        or (node.target in ("mean", torch.mean) and node.args[1] != 1)  # of all channels, px by px
    ]


def written_in_place(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes whose value an in-place operation overwrites."""
    modules = dict(graph.named_modules())
    writers = [
        node
        for node in graph.graph.nodes
        if (node.op == "call_module" and getattr(modules[node.target], "inplace", False))
        or node.kwargs.get("inplace", False)
        or (node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"))
        or (node.op == "call_function" and node.target.__name__ in {"iadd", "isub", "imul", "itruediv"})
    ]
    return [writer.args[0] for writer in writers]


def positive(model: nn.Module) -> nn.Module:
    """A copy in float64 with positive weights, small ones, so that no path cancels, dies or saturates."""
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().clamp_(min=1e-3)
            if parameter.dim() > 1:
                total = parameter.flatten(1).sum(1)
                parameter.div_(100 * total.view(-1, *[1] * (parameter.dim() - 1)))
    return model


def measured_radius(model: nn.Module, side: int, multiple: int = 1) -> int:
    """How many LR px beyond it the output above the middle block sees to any side, pools cut; by gradients.

    Args:
        model: a network; its weights are replaced in a copy.
        side: side of the square image it sees, in LR px.
        multiple: what the network divides sides by: the side of the block, which begins at a multiple.
    """
    graph = trace(positive(model))
    for node in pools(graph):
        with graph.graph.inserting_after(node):
            cut = graph.graph.call_method("detach", (node,))
        node.replace_all_uses_with(cut, delete_user_cb=lambda user, cut=cut: user is not cut)
    graph.recompile()
    side, scale = side + -side % multiple, model.scale
    x = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    first = side // 2 - side // 2 % multiple
    block = slice(first * scale, (first + multiple) * scale)
    graph(x)[..., block, block].sum().backward()
    touched = x.grad.abs().sum((0, 1)).nonzero()
    return int(max(first - touched.min(), touched.max() - (first + multiple - 1)))


def assert_radius(preset: str, **arguments: object) -> None:
    """The stated radius is the measured one: neither too small for exactness nor larger than needed."""
    model = create_model(preset, **arguments)
    spec = presets()[preset]
    stated = spec.radius(model.model_args)
    multiple = spec.size_multiple(model.model_args)
    assert measured_radius(model, 2 * stated + 6 + multiple, multiple) == stated
