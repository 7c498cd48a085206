"""Reuse of memory between live feature maps, and selection of live feature maps that stay in row buffers."""

from __future__ import annotations

from torch import fx

from ..program.operators import Convolution, Pointwise
from ..program.program import Program, Stage
from ..program.sized_program import SizedProgram
from .row_schedule import needed_stops
from .virtual_concat import is_virtual_concat

__all__ = ["reusable_buffers", "stays_in_row_buffer"]

_CHECKED_ROWS = 64
"""First rows for which the order of reads and writes is checked; the rest of a feature map repeats it."""


def reusable_buffers(sized: SizedProgram, stage: Stage) -> dict[fx.Node, fx.Node]:
    """Returns live feature maps of this stage that can take the memory of one without later readers.

    New rows overwrite rows of the old feature map once all of its readers are past them. Its readers are the
    operator of the new one, or pointwise operators before it, which are ahead of it in any order of rows.

    Returns:
        New feature map -> old feature map.
    """
    found: dict[fx.Node, fx.Node] = {}
    old = [node for node in stage.frees if node not in stage.keeps]
    for node in stage.keeps:
        for candidate in old:
            if candidate not in found.values() and _may_replace(sized, stage, node, candidate):
                found[node] = candidate
                break
    return found


def stays_in_row_buffer(program: Program, node: fx.Node) -> bool:
    """Returns True for a live feature map that need not be copied into one tensor.

    It is the output of a convolution, which cannot write into a given tensor, and all its readers are
    pointwise.
    """
    readers = [program.operators[user] for user in node.users if user in program.operators]
    is_convolution = isinstance(program.operators[node], Convolution)
    return is_convolution and all(isinstance(reader, Pointwise) for reader in readers)


def _may_replace(sized: SizedProgram, stage: Stage, new: fx.Node, old: fx.Node) -> bool:
    program, operators = sized.program, sized.operators
    if stays_in_row_buffer(program, new) != stays_in_row_buffer(program, old):
        return False
    has_same_shape = sized.sizes[new] == sized.sizes[old] and program.channels[new] == program.channels[old]
    if not has_same_shape or operators[new].dtype != operators[old].dtype:
        return False
    readers = [node for node in stage.nodes if old in operators[node].sources]
    if not all(isinstance(operators[r], Pointwise) and not is_virtual_concat(program, r) for r in readers):
        return False
    height = sized.sizes[new].height
    for stop in {*range(1, min(height, _CHECKED_ROWS) + 1), height}:
        stops = needed_stops(sized, stage, {new: stop})
        if any(stops.get(reader, 0) < stop for reader in readers):
            return False
    return True
