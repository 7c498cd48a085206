"""Tracing of a network's fx graph and its arrangement into stages."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from hfsr.archs import pad_to_multiple
from hfsr.errors import PlanError
from hfsr.model_zoo import spec_of

from .geometry import UNBOUNDED, Size
from .inplace import separate_inplace
from .operator_mapping import LEAF_MODULES, build_operator, is_global_pool
from .operators import Operator
from .program import Program, Stage

__all__ = ["MIN_EXACT_SIDE", "CoreTracer", "attribute_of", "is_exact", "trace"]

_PROBE_SIZES = (Size(17, 23), Size(30, 19), Size(16, 32))
MIN_EXACT_SIDE = 16
"""Shorter side in px from which `is_exact` holds; the network may pad smaller images differently."""


_trace_lock = threading.Lock()
"""Held while fx replaces methods of `nn.Module`, which are those of all threads."""


class CoreTracer(fx.Tracer):
    """Traces `core`; modules that other threads run meanwhile compute as usual."""

    traced_func_name = "core"

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def trace(self, root: nn.Module, concrete_args: dict[str, Any] | None = None) -> fx.Graph:  # type: ignore[override]
        with _trace_lock:
            return super().trace(root, concrete_args)


class _TilingTracer(CoreTracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAF_MODULES) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> Program:
    """Traces `model.core` and arranges it into stages.

    Activations that work in place are separated from their input. Several threads may trace at once.

    Raises:
        PlanError: the network cannot be traced, or one of its operators cannot be tiled.
    """
    try:
        graph = _TilingTracer().trace(model)
    except Exception as error:  # any Python code of the network may fail on a proxy
        lines = str(error).strip().splitlines() or [type(error).__name__]
        name = type(model).__name__
        raise PlanError(f"{name} cannot be traced: {lines[0]}; run it whole (tile 0)") from error
    _refuse_hooks(model, graph)
    module = fx.GraphModule(model, graph)
    modules = dict(module.named_modules())
    separate_inplace(graph, modules)
    graph.eliminate_dead_code()
    module.recompile()
    source, output = _endpoints(graph)
    operators: dict[fx.Node, Operator] = {}
    channels = {source: 3}
    vectors: set[fx.Node] = set()
    for node in _compute_nodes(graph):
        sources = [n for n in node.all_input_nodes if n is source or n in operators]
        if sources:
            _refuse_maps_of_fixed_size(node, module)
        if sources and is_global_pool(node, modules):
            vectors.add(node)
        elif sources:
            operators[node] = build_operator(node, sources, modules)
            channels[node] = operators[node].channels([channels[s] for s in sources])
        elif any(n in vectors for n in node.all_input_nodes):
            vectors.add(node)
    if output not in operators:
        raise PlanError(f"{type(model).__name__} does not return a feature map")
    stages = _stages(graph, source, output, operators, vectors)
    return Program(module, source, output, operators, channels, stages)


def _refuse_hooks(model: nn.Module, graph: fx.Graph) -> None:
    """Raises PlanError if hooks compute weights or change results, which operators would not see."""
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for name in ("", *called):
        module = model.get_submodule(name)
        if module._forward_hooks or module._forward_pre_hooks:
            raise PlanError(
                f"'{name or type(model).__name__}' has hooks (weight_norm, spectral_norm, prune, or "
                "register_forward_hook), which cannot be tiled; make them permanent "
                "(torch.nn.utils.remove_weight_norm and so on) or run this network whole (tile 0)"
            )


def _refuse_maps_of_fixed_size(node: fx.Node, module: fx.GraphModule) -> None:
    """Raises PlanError if a node combines a feature map with a constant that has height or width."""
    for constant in node.all_input_nodes:
        if constant.op != "get_attr":
            continue
        value = attribute_of(module, str(constant.target))
        if isinstance(value, Tensor) and value.dim() > 1 and max(value.shape[-2:]) > 1:
            raise PlanError(
                f"'{node.name}': a constant of shape {tuple(value.shape)}, with height and width, cannot be "
                "tiled; run this network whole (tile 0)"
            )


def attribute_of(module: nn.Module, path: str) -> Any:
    """Returns the value of a `get_attr` node, whose target is a dotted path."""
    return functools.reduce(getattr, path.split("."), module)


def is_exact(model: nn.Module) -> bool:
    """Returns True if a network that was not written for hfsr can be tiled exactly.

    Its graph must consist of known operators and reproduce the network's results at several sizes, because
    tracing freezes the branches that Python took once. Images below `MIN_EXACT_SIDE` px are not covered.
    """
    traced = copy.deepcopy(model)
    try:
        program = trace(traced)
        program.sizes(UNBOUNDED)
    except PlanError:
        return False
    if any(isinstance(value, fx.Proxy) for module in traced.modules() for value in vars(module).values()):
        return False  # it stores intermediate results: tracing would leave proxies in them
    spec = spec_of(model)
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    reference = next(model.parameters())
    return all(
        _agrees(model, program, torch.rand(1, 3, *size).to(reference), multiple) for size in _PROBE_SIZES
    )


def _agrees(model: nn.Module, program: Program, x: Tensor, multiple: int) -> bool:
    with torch.inference_mode():
        expected = model(x)
        try:
            found = program.module(pad_to_multiple(x, multiple))
        except RuntimeError:  # the network pads small images by another rule
            return False
    found = found[..., : expected.shape[2], : expected.shape[3]]
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def _endpoints(graph: fx.Graph) -> tuple[fx.Node, fx.Node]:
    inputs = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    returned = next(node for node in graph.nodes if node.op == "output").args[0]
    if len(inputs) != 1 or not isinstance(returned, fx.Node):
        raise PlanError(f"a network with {len(inputs)} inputs or several outputs cannot be tiled")
    return inputs[0], returned


def _compute_nodes(graph: fx.Graph) -> Iterator[fx.Node]:
    return (node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr"))


def _stages(
    graph: fx.Graph,
    source: fx.Node,
    output: fx.Node,
    operators: dict[fx.Node, Operator],
    vectors: set[fx.Node],
) -> list[Stage]:
    earliest: dict[fx.Node, int] = {}
    for node in _compute_nodes(graph):
        inputs = [earliest.get(n, 0) for n in node.all_input_nodes]
        is_pool = node in vectors and any(n is source or n in operators for n in node.all_input_nodes)
        earliest[node] = max(inputs, default=0) + is_pool
    last = earliest[output]
    # Every feature map is computed as late as possible: cheap ones, like an upscaled input, need not be kept.
    latest: dict[fx.Node, int] = {}
    for node in reversed(operators):
        limits = [
            latest[u] if u in operators else earliest[u] - 1
            for u in node.users
            if u in operators or u in vectors
        ]
        latest[node] = min([*limits, last]) if node is not output else last
    stages = [Stage() for _ in range(last + 1)]
    for node in operators:
        stages[latest[node]].nodes.append(node)
    for node in _compute_nodes(graph):
        if node in vectors:
            is_pool = any(n is source or n in operators for n in node.all_input_nodes)
            (stages[earliest[node] - 1].pools if is_pool else stages[earliest[node] - 1].vectors).append(node)
    for index, stage in enumerate(stages):
        for node in stage.nodes:
            readers = [latest[user] for user in node.users if user in operators]
            if any(reader > index for reader in readers):
                stage.keeps.append(node)
                stages[max(readers)].frees.append(node)
    return stages
