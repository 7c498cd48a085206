"""Check that a network built by another package holds the values of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hfsr.errors import CheckpointError, some_of

__all__ = ["check_values"]

_DERIVED = ("attn_mask", "relative_position_index", "relative_coords_table", "num_batches_tracked")
"""Last parts of keys whose tensors follow from sizes, or count training batches."""


def check_values(state_dict: Mapping[str, Tensor], network: nn.Module, *, source: str) -> tuple[str, ...]:
    """Checks that the network built from a file holds every learned tensor of the file.

    Args:
        state_dict: the tensors of the file.
        network: the network, which holds them under its own keys.
        source: the file, which begins an error message.

    Returns:
        Notes on tensors that the network does not hold because it computes them itself.

    Raises:
        CheckpointError: the network lacks learned tensors.
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
            "neither hfsr nor spandrel supports this variant"
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
    """Returns True if the network recomputes a tensor, under its key or under another in the same module."""
    if key in own:
        return True
    module = key.rpartition(".")[0].rpartition(".")[0]
    given = set(given)
    return bool(module) and any(name.startswith(f"{module}.") and name not in given for name in own)
