"""Runs a stage in rectangular pieces, each with the halo it needs.

A halo is computed again for every piece, but nothing is carried from one to the next: pieces may be of any
size. For the same reason new maps cannot be written over old ones, as in a stream of rows: a piece computes
its halo again from what its neighbour would have overwritten. Where that memory is short, rows take less.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from hfsr.errors import PlanError

from ..program.geometry import Region, split_in_half, tile_grid
from ..program.program import Stage
from ..runtime.memory import is_out_of_memory
from .feature_store import Frame, Write

__all__ = ["run_in_pieces"]

_SMALLEST_PIECE = 16


def run_in_pieces(frame: Frame, stage: Stage, tile: int, write: Write) -> Iterator[Region]:
    """Runs a stage, yielding the region of the image that each finished piece owns.

    Args:
        tile: largest side of a piece in px of the image. When memory runs out a piece is done again in
        halves.

    Raises:
        PlanError: not even the smallest piece fits into memory.
    """
    frame.begin(stage)
    last_use = _last_uses(stage, frame.program.targets(stage))
    for piece in tile_grid(frame.image, tile):
        _run(frame, stage, piece, last_use, write)
        yield piece
    frame.end(stage)


def _run(
    frame: Frame, stage: Stage, piece: Region, last_use: dict[fx.Node, list[fx.Node]], write: Write
) -> None:
    owned = frame.program.owned(stage, piece, frame.sizes)
    try:
        _compute(frame, stage, owned, last_use)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        frame.commit(stage, owned, write)
        frame.patches.clear()
        return
    frame.patches.clear()
    if max(piece.height, piece.width) <= _SMALLEST_PIECE:
        raise PlanError(
            f"not enough memory for a piece of {piece.width}x{piece.height} px; free some, or use a CPU"
        )
    if frame.device.type == "cuda":
        torch.cuda.empty_cache()
    for half in split_in_half(piece):
        _run(frame, stage, half, last_use, write)


def _compute(
    frame: Frame, stage: Stage, owned: dict[fx.Node, Region], last_use: dict[fx.Node, list[fx.Node]]
) -> None:
    program = frame.program
    needed = program.regions(stage, owned, frame.sizes)
    for node in stage.nodes:
        if node in needed:
            frame.patches[node] = (program.operators[node].run(needed[node], frame), needed[node])
        for done in last_use.get(node, ()):
            frame.patches.pop(done, None)


def _last_uses(stage: Stage, targets: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """For each node of the stage, the maps that nobody needs once it has run."""
    inside = set(stage.nodes) - set(targets)
    last: dict[fx.Node, fx.Node] = {}
    for node in stage.nodes:
        for source in node.all_input_nodes:
            if source in inside:
                last[source] = node
    uses: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses
