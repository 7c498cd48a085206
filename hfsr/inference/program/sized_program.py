"""A program for one image size: sizes, bytes and regions of its feature maps."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import fx

from .geometry import UNBOUNDED, Region, Size
from .operators import Operator
from .program import Program, Stage

__all__ = ["SizedProgram"]


class SizedProgram:
    """A program for one image size.

    Attributes:
        program: a traced network; must be lowered for running and for sizes in bytes.
        image: size of the image.
        sizes: size of every feature map, including the image.
    """

    def __init__(self, program: Program, image: Size) -> None:
        self.program = program
        self.image = image
        self.sizes = program.sizes(image)

    @property
    def operators(self) -> dict[fx.Node, Operator]:
        """Operator of each feature map except the image."""
        return self.program.operators

    @property
    def stages(self) -> list[Stage]:
        """Stages in order of execution."""
        return self.program.stages

    @cached_property
    def unbounded(self) -> SizedProgram:
        """The program for an image whose border no window reaches."""
        return SizedProgram(self.program, UNBOUNDED)

    # Regions

    def rescale(self, region: Region, node: fx.Node) -> Region:
        """The region of a feature map that a region of the image owns."""
        return region.rescale(self.image, self.sizes[node])

    def owned(self, stage: Stage, part: Region) -> dict[fx.Node, Region]:
        """Returns the regions of the targets, and of the image if it is pooled, that a part of it owns."""
        targets = self.program.targets(stage)
        if any(pool.all_input_nodes[0] is self.program.source for pool in stage.pools):
            targets = [*targets, self.program.source]
        owned = {node: self.rescale(part, node) for node in targets}
        return {node: region for node, region in owned.items() if region.area > 0}

    def regions(self, stage: Stage, owned: dict[fx.Node, Region]) -> dict[fx.Node, Region]:
        """Returns the region of every feature map and stage input that the `owned` regions depend on."""
        needed = dict(owned)
        inside = set(stage.nodes)
        for node in reversed(stage.nodes):
            if node not in needed:
                continue
            op = self.operators[node]
            reach = op.input_region(needed[node])
            for source in op.sources:
                region = reach.clip(self.sizes[source])
                # A live feature map can be read anywhere, so its regions need no union.
                needed[source] = region.union(needed.get(source)) if source in inside else region
        return needed

    # Memory and arithmetic

    def dtype(self, node: fx.Node) -> torch.dtype:
        """Dtype of a feature map, or of the image."""
        return self.program.dtype(node)

    def row_numbers(self, node: fx.Node) -> int:
        """Numbers in one row of a feature map."""
        return self.sizes[node].width * self.program.channels[node]

    def row_bytes(self, node: fx.Node) -> int:
        """Bytes of one row of a feature map."""
        return self.row_numbers(node) * self.dtype(node).itemsize

    def map_bytes(self, node: fx.Node) -> int:
        """Bytes of a whole feature map."""
        return self.sizes[node].height * self.row_bytes(node)

    def flops(self, node: fx.Node) -> float:
        """Returns the floating-point operations of a feature map, each px computed once."""
        size = self.sizes[node]
        return self.operators[node].cost(self.program.channels[node]) * size.height * size.width

    def stage_flops(self, stage: Stage) -> float:
        """Returns the operations of a stage, each px of each feature map computed once."""
        return sum(self.flops(node) for node in stage.nodes)

    @property
    def total_flops(self) -> float:
        """Floating-point operations of all stages, without halos."""
        return sum(self.stage_flops(stage) for stage in self.stages)
