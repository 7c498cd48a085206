"""Runs a program on one image, stage by stage.

Sums of pooled maps are added up over the parts of a stage; when it ends they become the vectors of the next,
so all parts go on in step and the result is the whole image's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from ..program.geometry import Region, Size
from ..program.program import Program, Stage
from ..scheduling.row_schedule import BandHeights
from .feature_store import Frame, Read, Spill, Write
from .row_executor import run_in_rows
from .tile_executor import run_in_pieces

__all__ = ["RunStage", "execute"]

RunStage = Callable[[Frame, Stage, Write], Iterator[Region]]
"""Runs one stage, yielding the region of the image that each finished part owns."""


def execute(
    program: Program,
    image: Size,
    read: Read,
    write: Write,
    *,
    tile: int | None = None,
    bands: Sequence[BandHeights] | None = None,
    device: torch.device,
    spill: Spill = lambda _: None,
    run_stage: RunStage | None = None,
) -> Iterator[tuple[int, Region]]:
    """Runs `program`, yielding (stage, region of the image) after each part.

    Args:
        program: a traced and prepared network.
        image: size of the input.
        read, write: where regions of the image come from and regions of the result go.
        tile: run in pieces that own at most so many px of the image in height and width, or else ...
        bands: ... as a stream of rows, in these bands for each stage.
        device: where maps are computed and kept.
        spill: where live maps go that are too large for memory.
        run_stage: runs each stage where that is another backend's, in parts of its own choice.

    Raises:
        PlanError: not even the smallest part fits into memory.
    """
    frame = Frame(program, image, read, device, spill)
    for index, stage in enumerate(program.stages):
        if run_stage is not None:
            parts = run_stage(frame, stage, write)
        elif bands is not None:
            parts = run_in_rows(frame, stage, bands[index], write)
        else:
            parts = run_in_pieces(frame, stage, tile or max(image), write)
        for part in parts:
            yield index, part
