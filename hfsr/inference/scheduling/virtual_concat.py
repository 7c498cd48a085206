"""Concatenations that are no map of their own: a stream of rows makes them when they are read.

What one convolution reads of a concatenation it would otherwise hold beside the maps that it is made of, rows
above its next window and all. In a dense block that is three times the memory of these maps, and each row of
it would be moved twice more.
"""

from __future__ import annotations

import torch
from torch import fx

from ..program.operators import Convolution, TransposedConvolution
from ..program.program import Program

__all__ = ["concat_inputs", "is_virtual_concat", "row_readers", "row_sources"]


def is_virtual_concat(program: Program, node: fx.Node) -> bool:
    """Whether a map is a concatenation that one convolution reads and nobody else."""
    if len(node.users) != 1 or not concat_inputs(node):
        return False
    (reader,) = node.users
    return isinstance(program.operators.get(reader), (Convolution, TransposedConvolution))


def concat_inputs(node: fx.Node) -> list[fx.Node]:
    """The maps that a concatenation is made of, in order; none where it is something else."""
    return list(node.args[0]) if node.target is torch.cat and node.args else []  # type: ignore[arg-type]


def row_readers(program: Program, node: fx.Node) -> list[fx.Node]:
    """The operators that ask for rows of a map: of a gathered one not it, but who reads it."""
    users = [user for user in node.users if user in program.operators]
    return [next(iter(user.users)) if is_virtual_concat(program, user) else user for user in users]


def row_sources(program: Program, node: fx.Node) -> list[fx.Node]:
    """The maps whose rows an operator asks for: of a gathered one not it, but what it is made of."""
    found: list[fx.Node] = []
    for source in program.operators[node].sources:
        found += program.operators[source].sources if is_virtual_concat(program, source) else [source]
    return found
