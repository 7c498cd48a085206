"""Reads a network's fx graph and arranges it into stages that can run piece by piece.

A node is a *constant*, a *map* (it has height and width), or a *vector* (made from pooled statistics of
maps). A global pool needs its whole input before anything that depends on it can go on, so it ends a stage:
within a stage the pieces are independent but for their halo. A map that a later stage reads is *live*: it is
kept whole between. Every map is computed as late as possible, which keeps what is cheap to make, like an
enlarged input, out of memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from hfsr.archs import pad_to_multiple
from hfsr.errors import PlanError
from hfsr.zoo import spec_of

from .geometry import FAR, Region, Size
from .operator_mapping import LEAVES, is_global_pool, map_operator
from .operators import Convolution, MapOperator, Pointwise, Positional, TransposedConvolution

__all__ = ["EXACT_FROM", "Program", "Stage", "is_exact", "trace"]

_PROBES = (Size(17, 23), Size(30, 19), Size(16, 32))
EXACT_FROM = 16
"""Px of the shorter side from which `is_exact` looks: below, a network may pad by a rule of its own."""


class _CoreTracer(fx.Tracer):
    traced_func_name = "core"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class Stage:
    """What runs between two global pools."""

    nodes: list[fx.Node] = field(default_factory=list)
    """Maps computed in this stage, in order."""
    pools: list[fx.Node] = field(default_factory=list)
    """Global pools whose sums are gathered in this stage."""
    keeps: list[fx.Node] = field(default_factory=list)
    """Maps of this stage that a later stage reads."""
    vectors: list[fx.Node] = field(default_factory=list)
    """Vectors computed once when the stage has ended."""
    frees: list[fx.Node] = field(default_factory=list)
    """Kept maps that nobody reads after this stage."""


@dataclass
class Program:
    """A network's `core` as stages of operators."""

    module: fx.GraphModule
    source: fx.Node
    output: fx.Node
    operators: dict[fx.Node, MapOperator]
    channels: dict[fx.Node, int]
    stages: list[Stage]

    @property
    def kind(self) -> str:
        """ "positional" where parts must know their place, "pooled" with global pools, else "local"."""
        if any(isinstance(op, Positional) for op in self.operators.values()):
            return "positional"
        return "pooled" if len(self.stages) > 1 else "local"

    def dtype(self, node: fx.Node) -> torch.dtype:
        """Of a map, or of the image."""
        return self.operators[node].dtype if node in self.operators else torch.float32

    def sizes(self, image: Size) -> dict[fx.Node, Size]:
        """The size of every map for an image of this size."""
        sizes = {self.source: image}
        for node, op in self.operators.items():
            inputs = {sizes[source] for source in op.sources}
            if len(inputs) > 1:
                raise PlanError(f"'{node.name}' joins maps of different sizes {sorted(inputs)}")
            sizes[node] = op.size(inputs.pop())
        return sizes

    def targets(self, stage: Stage) -> list[fx.Node]:
        """The maps that a stage must produce for the region that a piece owns."""
        pooled = [
            source for pool in stage.pools for source in pool.all_input_nodes if source in self.operators
        ]
        wanted = [*stage.keeps, *pooled]
        return list(dict.fromkeys([*wanted, self.output] if self.output in stage.nodes else wanted))

    def owned(self, stage: Stage, piece: Region, sizes: dict[fx.Node, Size]) -> dict[fx.Node, Region]:
        """What a part of the image owns of the targets, and of the image where that is pooled itself."""
        targets = self.targets(stage)
        if any(pool.all_input_nodes[0] is self.source for pool in stage.pools):
            targets = [*targets, self.source]
        owned = {node: piece.scaled(sizes[self.source], sizes[node]) for node in targets}
        return {node: region for node, region in owned.items() if region.area > 0}

    def regions(
        self, stage: Stage, owned: dict[fx.Node, Region], sizes: dict[fx.Node, Size]
    ) -> dict[fx.Node, Region]:
        """The region of every map, the stage's inputs included, that its targets' `owned` regions need."""
        needed = dict(owned)
        inside = set(stage.nodes)
        for node in reversed(stage.nodes):
            if node not in needed:
                continue
            op = self.operators[node]
            reach = op.needs(needed[node])
            for source in op.sources:
                region = reach.clipped(sizes[source])
                # What was kept by an earlier stage is read wherever it is needed; nothing has to be united.
                needed[source] = region.union(needed.get(source)) if source in inside else region
        return needed

    def radius(self) -> int:
        """One-sided receptive field of the convolutions in LR px, global pools left out."""
        sizes = self.sizes(FAR)
        middle = Region(FAR.height // 2, FAR.height // 2 + 1, FAR.width // 2, FAR.width // 2 + 1)
        needed = {self.output: middle.scaled(sizes[self.source], sizes[self.output])}
        for node in reversed(self.operators):
            if node in needed:
                op = self.operators[node]
                for source in op.sources:
                    needed[source] = op.needs(needed[node]).union(needed.get(source))
        reach = needed[self.source]
        return max(middle.top - reach.top, reach.bottom - middle.bottom)

    def scale(self) -> float:
        """Output px per input px, to six digits."""
        return self.sizes(FAR)[self.output].height / FAR.height

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Readies the weights: in float32, or in `dtype` but for the first and last convolutions.

        Those two see the image itself, whose last bits a narrow type would round away.
        """
        convolutions = (Convolution, TransposedConvolution)
        after_conv: dict[fx.Node, bool] = {self.source: False}
        for node, op in self.operators.items():
            before = any(after_conv[source] for source in op.sources)
            after_conv[node] = before or isinstance(op, convolutions)
        before_conv: dict[fx.Node, bool] = {}
        for node in reversed([self.source, *self.operators]):
            users = [user for user in node.users if user in self.operators]
            before_conv[node] = any(
                before_conv[u] or isinstance(self.operators[u], convolutions) for u in users
            )
        for node, op in self.operators.items():
            low = after_conv[node] and before_conv[node]
            op.dtype = dtype if low else torch.float32
            if isinstance(op, convolutions):
                first = not any(after_conv[source] for source in op.sources)
                op.compute = torch.float32 if first or not low else dtype
            elif dtype != torch.float32:
                op.compute = op.dtype
            op.prepare(device)
            op.overwrites = self._overwritable(node, op)

    def _overwritable(self, node: fx.Node, op: MapOperator) -> fx.Node | None:
        """A fresh convolution result that only this node reads may be replaced by this node's result."""
        stage = next(stage for stage in self.stages if node in stage.nodes)
        for source in op.sources if isinstance(op, Pointwise) else ():
            fresh = isinstance(self.operators.get(source), Convolution)
            alone = len(source.users) == 1 and list(node.args).count(source) == 1
            same = self.channels[source] == self.channels[node] and self.operators.get(source) is not None
            if (
                fresh
                and alone
                and same
                and source in stage.nodes
                and self.operators[source].dtype == op.dtype
            ):
                return source
        return None


def trace(model: nn.Module) -> Program:
    """Traces `model.core` and arranges it into stages.

    Raises:
        PlanError: the network cannot be traced, or has an operator without a rule for pieces.
    """
    try:
        graph = _CoreTracer().trace(model)
    except Exception as error:  # whatever Python a network runs meets a value that has no value yet
        told = str(error).strip().splitlines() or [type(error).__name__]
        name = type(model).__name__
        raise PlanError(f"{name} cannot be traced: {told[0]}; run it whole (tile 0)") from error
    module = fx.GraphModule(model, graph)
    graph.eliminate_dead_code()
    modules = dict(module.named_modules())
    source, output = _ends(graph)
    operators: dict[fx.Node, MapOperator] = {}
    channels = {source: _input_channels(model)}
    vectors: set[fx.Node] = set()
    for node in _inner(graph):
        sources = [n for n in node.all_input_nodes if n is source or n in operators]
        if sources and is_global_pool(node, modules):
            vectors.add(node)
        elif sources:
            operators[node] = map_operator(node, sources, modules)
            channels[node] = operators[node].channels([channels[s] for s in sources])
        elif any(n in vectors for n in node.all_input_nodes):
            vectors.add(node)
    if output not in operators:
        raise PlanError(f"{type(model).__name__} does not return a map")
    stages = _stages(graph, source, output, operators, vectors)
    return Program(module, source, output, operators, channels, stages)


def is_exact(model: nn.Module) -> bool:
    """Whether a network that was not written for the planner can be cut in exact pieces all the same.

    It can where its graph has nothing but known operators, and gives what the network gives at several sizes:
    tracing takes what Python decided once for the truth. Pictures of less than `EXACT_FROM` px are left out.
    """
    traced = copy.deepcopy(model)
    try:
        program = trace(traced)
        program.sizes(FAR)
    except PlanError:
        return False
    if any(isinstance(value, fx.Proxy) for module in traced.modules() for value in vars(module).values()):
        return False  # it keeps what it computes: tracing would leave it broken
    spec = spec_of(model)
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    reference = next(model.parameters())
    return all(_agrees(model, program, torch.rand(1, 3, *size).to(reference), multiple) for size in _PROBES)


def _agrees(model: nn.Module, program: Program, x: Tensor, multiple: int) -> bool:
    with torch.inference_mode():
        expected = model(x)
        try:
            found = program.module(pad_to_multiple(x, multiple))
        except RuntimeError:  # the network pads small pictures by a rule of its own, and needs to
            return False
    found = found[..., : expected.shape[2], : expected.shape[3]]
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def _ends(graph: fx.Graph) -> tuple[fx.Node, fx.Node]:
    inputs = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    returned = next(node for node in graph.nodes if node.op == "output").args[0]
    if len(inputs) != 1 or not isinstance(returned, fx.Node):
        raise PlanError(f"a network with {len(inputs)} inputs or several outputs cannot be cut in pieces")
    return inputs[0], returned


def _inner(graph: fx.Graph) -> Iterator[fx.Node]:
    return (node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr"))


def _input_channels(model: nn.Module) -> int:
    return int(getattr(model, "model_args", {}).get("num_in_ch", 3))


def _stages(
    graph: fx.Graph,
    source: fx.Node,
    output: fx.Node,
    operators: dict[fx.Node, MapOperator],
    vectors: set[fx.Node],
) -> list[Stage]:
    earliest: dict[fx.Node, int] = {}
    for node in _inner(graph):
        inputs = [earliest.get(n, 0) for n in node.all_input_nodes]
        is_pool = node in vectors and any(n is source or n in operators for n in node.all_input_nodes)
        earliest[node] = max(inputs, default=0) + is_pool
    last = earliest[output]
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
    for node in _inner(graph):
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
