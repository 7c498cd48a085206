"""State of one run of a program on an image, and the inputs that operators read from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, fx

from ..image_io.sources_and_sinks import ImageSink, ImageSource
from ..program.geometry import Region, Size
from ..program.operators import concat_inputs
from ..program.program import Stage
from ..program.sized_program import SizedProgram
from .allocator import Allocator
from .feature_store import FeatureStore, read_region
from .pooled_sums import PooledSums
from .pooled_vectors import Vectors
from .row_buffer import RowBuffer

__all__ = ["ExecutionContext"]

_NO_REUSE: Mapping[fx.Node, fx.Node] = MappingProxyType({})


class ExecutionContext:
    """State of one run of a program on an image; implements `OperatorInputs`.

    Args:
        sized: a lowered program for the size of the image.
        source: the image.
        device: device of the feature maps.
        spill: destination of large live feature maps (see `Allocator`).

    Attributes:
        features: the feature maps in memory.
        vectors: constants and pooled vectors.
        allocator: allocates feature maps.
    """

    def __init__(
        self, sized: SizedProgram, source: ImageSource, device: torch.device, spill: Path | str | None
    ) -> None:
        self.sized = sized
        self.device = device
        self.allocator = Allocator(sized, device, spill)
        self.features = FeatureStore()
        self.vectors = Vectors(sized.program.module)
        self._source = source
        self._sums = PooledSums()

    # Inputs of operators

    def size(self, node: fx.Node) -> Size:
        return self.sized.sizes[node]

    def value(self, node: fx.Node) -> Tensor:
        return self.vectors.value(node)

    def feature(self, node: fx.Node, region: Region) -> Tensor:
        if node is self.sized.program.source:
            return self._source.read(region)
        part = self.features.find(node, region)
        if part is None:
            return self._concatenate(node, region)
        return part if part.device == self.device else part.to(self.device)

    def _concatenate(self, node: fx.Node, region: Region) -> Tensor:
        """Returns a region of a virtual concatenation, assembled from the rows of its inputs."""
        rows = self.allocator.scratch(node, region.height, region.width)
        channel = 0
        for source in concat_inputs(node):
            held, top = self.features.rows.get(source), 0
            end = channel + self.sized.program.channels[source]
            for chunk in [self.feature(source, region)] if held is None else held.chunks(region):
                rows[:, channel:end, top : top + chunk.shape[2]] = chunk
                top += chunk.shape[2]
            channel = end
        return rows

    # Stages

    def begin_stage(
        self,
        stage: Stage,
        reuse: Mapping[fx.Node, fx.Node] = _NO_REUSE,
        buffered: Collection[fx.Node] = (),
    ) -> None:
        """Allocates the live feature maps of a stage.

        Args:
            stage: the stage that starts.
            reuse: live feature maps that take the memory of another one (see `reusable_buffers`).
            buffered: live feature maps that may stay in row buffers.
        """
        self.features.clear_stage()
        self._sums.clear()
        live = self.features.live
        for node in stage.keeps:
            if node in buffered and not self.allocator.is_spilled(node):
                live[node] = RowBuffer()
            elif node in reuse:
                live[node] = live[reuse[node]]
            elif node not in live:
                live[node] = self.allocator.live(node)

    def commit(self, stage: Stage, owned: dict[fx.Node, Region], sink: ImageSink) -> None:
        """Copies the finished regions of the targets to the live feature maps, the pools and the result."""
        for node in stage.keeps:
            if node in owned and node in self.features.tiles:  # otherwise it was computed in place
                part = self.feature(node, owned[node])
                read_region(self.features.live[node], owned[node]).copy_(part)
        for pool in stage.pools:
            pooled = pool.all_input_nodes[0]
            if pooled in owned:
                self._sums.add(pool, self.feature(pooled, owned[pooled]))
        output = self.sized.program.output
        if output in owned:
            sink.write(owned[output], self.feature(output, owned[output]))

    def end_stage(self, stage: Stage) -> None:
        """Computes the vectors of a stage and frees feature maps without remaining readers."""
        for pool in stage.pools:
            self.vectors.set(pool, self._sums.mean(pool, self.size(pool.all_input_nodes[0])))
        for node in stage.vectors:
            self.vectors.compute(node)
        for node in stage.frees:
            del self.features.live[node]
        self.features.clear_stage()
        self.allocator.free_scratch()
