"""Proof that a network which another package built holds the values of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hfsr.errors import CheckpointError, some_of

__all__ = ["check_values"]

_DERIVED = ("attn_mask", "relative_position_index", "relative_coords_table", "num_batches_tracked")
"""Last parts of keys whose tensors follow from sizes, or count batches of training."""


def check_values(state_dict: Mapping[str, Tensor], network: nn.Module, *, source: str) -> tuple[str, ...]:
    """Looks for every learned tensor of a file among those of the network that was built from it.

    Args:
        state_dict: the tensors of the file.
        network: holds them under keys of its own.
        source: the file, to begin an error message.

    Returns:
        Notes on tensors that the network does not hold because it computes them itself.

    Raises:
        CheckpointError: learned tensors have not arrived.
    """
    own = network.state_dict()
    buffers = dict(network.named_buffers())
    held = {_fingerprint(tensor) for tensor in (*own.values(), *buffers.values())}
    missing = [key for key, tensor in state_dict.items() if _fingerprint(tensor) not in held]
    derived = [key for key in missing if _is_derived(key, state_dict[key], buffers)]
    fused = [key for key in missing if key not in derived and _is_fused(key, own, state_dict)]
    lost = [key for key in missing if key not in derived and key not in fused]
    if lost:
        raise CheckpointError(
            f"{source} holds tensors that the network spandrel builds from it does not use: {some_of(lost)}; "
            "it is of a variant that neither hfsr nor spandrel knows"
        )
    notes = (
        (derived, "follow from sizes and are computed"),
        (fused, "are merged into other convolutions"),
    )
    return tuple(f"{len(keys)} tensors {what}: {some_of(keys, 2)}" for keys, what in notes if keys)


def _fingerprint(tensor: Tensor) -> tuple[torch.Size, bytes]:
    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return tensor.shape, hashlib.sha1(values, usedforsecurity=False).digest()


def _is_derived(key: str, tensor: Tensor, buffers: Mapping[str, Tensor]) -> bool:
    return not tensor.is_floating_point() or key in buffers or key.endswith(_DERIVED)


def _is_fused(key: str, own: Mapping[str, Tensor], given: Iterable[str]) -> bool:
    """Whether the network computes a tensor anew, under its key or under another in the same module."""
    if key in own:
        return True
    module = key.rpartition(".")[0].rpartition(".")[0]
    given = set(given)
    return bool(module) and any(name.startswith(f"{module}.") and name not in given for name in own)
