"""Gradient checkpointing: the repeated blocks of a network are computed again in the backward pass."""

from __future__ import annotations

import functools
from collections import Counter

from torch import nn
from torch.utils.checkpoint import checkpoint

from hfsr.errors import OptionsError

__all__ = ["checkpoint_blocks"]


def checkpoint_blocks(network: nn.Module) -> int:
    """Makes the outermost repeated blocks of a network keep their inputs only; its values stay the same.

    A repeated block is a module whose class stands at least twice in one container, and holds parameters.
    Blocks with batch statistics are left as they are: computed twice, those would be updated twice.

    Returns:
        How many blocks.

    Raises:
        OptionsError: the network repeats nothing that could be computed again.
    """
    blocks = [block for block in _repeated(network) if not _has_statistics(block)]
    if not blocks:
        raise OptionsError(
            f"use_checkpointing: {type(network).__name__} repeats no blocks without batch statistics; "
            "set it to false"
        )
    for block in blocks:
        # On the instance, which copies made before (averaged weights) do not share.
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
