"""The protocol of executors, which run one image, and stage-by-stage execution of a program.

Sums of pooled feature maps accumulate over the parts of a stage; at its end they become the vectors of the
next stage. Therefore all parts finish a stage before the next one starts, and the result is that of the whole
image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from ..image_io.sources_and_sinks import ImageSink, ImageSource
from ..program.geometry import Region
from ..program.sized_program import SizedProgram
from .run_context import ExecutionContext

__all__ = ["ExecutionStep", "Executor", "StagedExecutor"]


class ExecutionStep(NamedTuple):
    """Progress after one part.

    Attributes:
        done, total: parts finished and parts in all; every stage of a program has its own.
        share: share of the arithmetic that is done, in [0, 1].
    """

    done: int
    total: int
    share: float


class Executor(Protocol):
    """Runs a network on one image, part by part."""

    @property
    def tile(self) -> int | str:
        """Tile or band size, as in `Upscaler.used_tile`; may shrink during the run."""

    def run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        """Reads the image, writes the result, and yields after each part.

        Raises:
            PlanError: the smallest part does not fit into memory.
        """


class StagedExecutor(ABC):
    """Base of the executors that run a program stage by stage.

    Args:
        sized: a lowered program for the size of the image.
        device: device of the feature maps.
        tile: as in `Executor`.
        num_parts: number of parts of all stages.
        stage_flops: floating-point operations of each stage; by default those without halos.
        spill: destination of large live feature maps (see `Allocator`).
    """

    def __init__(
        self,
        sized: SizedProgram,
        device: torch.device,
        *,
        tile: int | str,
        num_parts: int,
        stage_flops: Sequence[float] | None = None,
        spill: Path | str | None = None,
    ) -> None:
        self.sized = sized
        self.device = device
        self.tile = tile
        self._num_parts = num_parts
        self._stage_flops = stage_flops or [sized.stage_flops(stage) for stage in sized.stages]
        self._spill = spill

    def run(self, source: ImageSource, sink: ImageSink) -> Iterator[ExecutionStep]:
        context = ExecutionContext(self.sized, source, self.device, self._spill)
        area, total = self.sized.image.height * self.sized.image.width, sum(self._stage_flops)
        done, spent = 0, 0.0
        for index, flops in enumerate(self._stage_flops):
            for part in self._run_stage(context, index, sink):
                done, spent = done + 1, spent + flops * part.area / area
                # A part that is halved during the run counts as two.
                yield ExecutionStep(min(done, self._num_parts), self._num_parts, spent / (total or 1.0))

    @abstractmethod
    def _run_stage(self, context: ExecutionContext, index: int, sink: ImageSink) -> Iterator[Region]:
        """Runs a stage, yielding the region of the image that each finished part owns."""
