"""Gradient checkpointing: the backward pass recomputes the repeated blocks of a network."""

from __future__ import annotations

import functools
from collections import Counter

from torch import nn
from torch.utils.checkpoint import checkpoint

from hfsr.errors import OptionsError

__all__ = ["checkpoint_blocks"]


def checkpoint_blocks(network: nn.Module) -> int:
    """Makes the outermost repeated blocks of a network store their inputs only; the results stay the same.

    A repeated block is a module with parameters whose class occurs at least twice in one container.
    Blocks with batch statistics are left out: the recomputation would update the statistics twice.

    Returns:
        The number of blocks.

    Raises:
        OptionsError: if the network has no such block.
    """
    blocks = [block for block in _repeated(network) if not _has_statistics(block)]
    if not blocks:
        raise OptionsError(
            f"use_checkpointing: {type(network).__name__} has no repeated blocks without batch statistics; "
            "set it to false"
        )
    for block in blocks:
        # On the instance: copies made before (averaged weights) keep their own method.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)


def _repeated(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential | nn.ModuleList):
        composed = [child for child in module if any(True for _ in child.children())]
        counts = Counter(type(child) for child in composed)
        repeated = [child for child in composed if counts[type(child)] > 1]
        if repeated:
            return repeated
    return [block for child in module.children() for block in _repeated(child)]


def _has_statistics(block: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in block.modules())
