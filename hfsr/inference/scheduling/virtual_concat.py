"""Virtual concatenations: results of `torch.cat` that are assembled only when they are read, row by row.

Without this, a concatenation that one convolution reads would be held in addition to its inputs, with all
rows above the next window. In a dense block that is three times the memory of the inputs, and each row would
be copied twice more.
"""

from __future__ import annotations

from torch import fx

from ..program.operators import Convolution, TransposedConvolution, concat_inputs
from ..program.program import Program

__all__ = ["is_virtual_concat", "row_readers", "row_sources"]


def is_virtual_concat(program: Program, node: fx.Node) -> bool:
    """Returns True for a concatenation whose only reader is a convolution."""
    if len(node.users) != 1 or not concat_inputs(node):
        return False
    (reader,) = node.users
    return isinstance(program.operators.get(reader), (Convolution, TransposedConvolution))


def row_readers(program: Program, node: fx.Node) -> list[fx.Node]:
    """Returns the operators that read rows of a feature map, through virtual concatenations."""
    users = [user for user in node.users if user in program.operators]
    return [next(iter(user.users)) if is_virtual_concat(program, user) else user for user in users]


def row_sources(program: Program, node: fx.Node) -> list[fx.Node]:
    """Returns the feature maps whose rows an operator reads, through virtual concatenations."""
    found: list[fx.Node] = []
    for source in program.operators[node].sources:
        found += program.operators[source].sources if is_virtual_concat(program, source) else [source]
    return found
