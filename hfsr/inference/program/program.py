"""A network as stages of operators.

A node of the fx graph is a *constant*, a *feature map* (it has height and width), or a *vector* (made from
pooled statistics). A global pool needs its whole input before anything that depends on it can run, so it
ends a stage: within a stage, tiles are independent except for their halo. A feature map that a later stage
reads is *live*: it is kept whole between the stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import fx

from hfsr.errors import PlanError

from .geometry import UNBOUNDED, Region, Size
from .operators import Operator, PositionalUpsampling

__all__ = ["Program", "Stage"]


@dataclass
class Stage:
    """The part of a network between two global pools."""

    nodes: list[fx.Node] = field(default_factory=list)
    """Feature maps computed in this stage, in order."""
    pools: list[fx.Node] = field(default_factory=list)
    """Global pools whose input is computed in this stage."""
    keeps: list[fx.Node] = field(default_factory=list)
    """Feature maps of this stage that a later stage reads."""
    vectors: list[fx.Node] = field(default_factory=list)
    """Vectors computed once at the end of the stage."""
    frees: list[fx.Node] = field(default_factory=list)
    """Live feature maps without readers after this stage."""


@dataclass(frozen=True)
class Program:
    """The `core` of a network as stages of operators.

    Attributes:
        module: the traced network, which holds its parameters.
        source, output: the nodes of the image and of the result.
        operators: operator of each feature map but the image.
        channels: channels of each feature map.
        stages: in order of execution.
    """

    module: fx.GraphModule
    source: fx.Node
    output: fx.Node
    operators: dict[fx.Node, Operator]
    channels: dict[fx.Node, int]
    stages: list[Stage]

    @property
    def kind(self) -> str:
        """Kind of tiling: "positional" if tiles need absolute positions, "pooled", or "local"."""
        if any(isinstance(op, PositionalUpsampling) for op in self.operators.values()):
            return "positional"
        return "pooled" if len(self.stages) > 1 else "local"

    def dtype(self, node: fx.Node) -> torch.dtype:
        """Dtype of a feature map, or of the image."""
        return self.operators[node].dtype if node in self.operators else torch.float32

    def sizes(self, image: Size) -> dict[fx.Node, Size]:
        """Returns the size of every feature map for an image of this size."""
        sizes = {self.source: image}
        for node, op in self.operators.items():
            inputs = {sizes[source] for source in op.sources}
            if len(inputs) > 1:
                raise PlanError(f"'{node.name}' joins feature maps of different sizes {sorted(inputs)}")
            sizes[node] = op.size(inputs.pop())
        return sizes

    def targets(self, stage: Stage) -> list[fx.Node]:
        """Returns the feature maps that a stage must compute for the region that a tile owns."""
        pooled = [
            source for pool in stage.pools for source in pool.all_input_nodes if source in self.operators
        ]
        wanted = [*stage.keeps, *pooled]
        return list(dict.fromkeys([*wanted, self.output] if self.output in stage.nodes else wanted))

    def radius(self) -> int:
        """One-sided receptive field of the convolutions in LR px, without global pools."""
        sizes = self.sizes(UNBOUNDED)
        row, column = UNBOUNDED.height // 2, UNBOUNDED.width // 2
        middle = Region(row, row + 1, column, column + 1)
        needed = {self.output: middle.rescale(sizes[self.source], sizes[self.output])}
        for node in reversed(self.operators):
            if node in needed:
                op = self.operators[node]
                for source in op.sources:
                    needed[source] = op.input_region(needed[node]).union(needed.get(source))
        reach = needed[self.source]
        return max(middle.top - reach.top, reach.bottom - middle.bottom)

    def scale(self) -> float:
        """Output px per input px, to six digits."""
        return self.sizes(UNBOUNDED)[self.output].height / UNBOUNDED.height
