"""Lowering of a program to a device and dtype: dtype of every operator, weights, reuse of memory in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import fx

from .operators import Convolution, Operator, Pointwise, TransposedConvolution
from .program import Program, Stage

__all__ = ["lower"]

_CONVOLUTIONS = (Convolution, TransposedConvolution)


def lower(program: Program, device: torch.device, dtype: torch.dtype) -> Program:
    """Returns a copy of a program with its weights on `device`, in float32 or in `dtype`.

    The first and last convolutions stay in float32: they process the image itself, whose last bits a narrow
    dtype would round away.
    """
    after, before = _after_convolution(program), _before_convolution(program)
    stage_of = {node: stage for stage in program.stages for node in stage.nodes}
    lowered: dict[fx.Node, Operator] = {}
    for node, op in program.operators.items():
        is_inner = after[node] and before[node]
        output_dtype = dtype if is_inner else torch.float32
        compute_dtype = None if dtype == torch.float32 else output_dtype
        if isinstance(op, _CONVOLUTIONS):
            is_first = not any(after[source] for source in op.sources)
            compute_dtype = torch.float32 if is_first else output_dtype
        lowered[node] = op.lower(
            device,
            dtype=output_dtype,
            compute_dtype=compute_dtype,
            inplace_source=_inplace_source(program, stage_of[node], op, output_dtype, lowered),
        )
    return replace(program, operators=lowered)


def _after_convolution(program: Program) -> dict[fx.Node, bool]:
    """Maps each node to True if it is, or is computed from, the output of a convolution."""
    after: dict[fx.Node, bool] = {program.source: False}
    for node, op in program.operators.items():
        after[node] = any(after[source] for source in op.sources) or isinstance(op, _CONVOLUTIONS)
    return after


def _before_convolution(program: Program) -> dict[fx.Node, bool]:
    """Maps each node to True if a convolution is computed from it."""
    operators, before = program.operators, dict[fx.Node, bool]()
    for node in reversed([program.source, *operators]):
        users = [user for user in node.users if user in operators]
        before[node] = any(before[user] or isinstance(operators[user], _CONVOLUTIONS) for user in users)
    return before


def _inplace_source(
    program: Program, stage: Stage, op: Operator, dtype: torch.dtype, lowered: Mapping[fx.Node, Operator]
) -> fx.Node | None:
    """Returns the convolution output that only this pointwise operator reads and can overwrite, or None."""
    for source in op.sources if isinstance(op, Pointwise) else ():
        if (
            isinstance(program.operators.get(source), Convolution)
            and len(source.users) == 1
            and list(op.node.args).count(source) == 1
            and program.channels[source] == program.channels[op.node]
            and source in stage.nodes
            and lowered[source].dtype == dtype
        ):
            return source
    return None
