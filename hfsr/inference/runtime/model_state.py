"""State of a model on which its result depends, for noticing a change between two images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["ModelState"]

_NUM_SAMPLES = 8
"""Values of each tensor that are compared."""


class _TensorState(NamedTuple):
    address: int
    version: int
    dtype: torch.dtype
    device: torch.device
    samples: tuple[float, ...]


class ModelState(NamedTuple):
    """Mode of a model, and for each of its tensors the address, the version and some of its values.

    Changes in place raise the version of a tensor, as those of `load_state_dict` and optimizers. Those
    through `.data`, as in averages of weights, do not: they show in the values.
    """

    is_training: bool
    tensors: tuple[_TensorState, ...]

    @classmethod
    def of(cls, model: nn.Module) -> ModelState:
        """Returns the present state of a model."""
        tensors = (*model.parameters(), *model.buffers())
        is_training = any(module.training for module in model.modules())
        return cls(is_training, tuple(_state_of(tensor) for tensor in tensors))


def _state_of(tensor: Tensor) -> _TensorState:
    version = 0 if tensor.is_inference() else tensor._version  # inference tensors have none
    return _TensorState(tensor.data_ptr(), version, tensor.dtype, tensor.device, _samples_of(tensor))


def _samples_of(tensor: Tensor) -> tuple[float, ...]:
    """Returns evenly spaced values, in the order of the memory; reading them copies nothing else."""
    count = min(_NUM_SAMPLES, tensor.numel())
    if not tensor.is_contiguous() and not tensor.is_contiguous(memory_format=torch.channels_last):
        return ()  # its memory may hold values of other tensors
    values = tensor.detach().as_strided((count,), (max(1, tensor.numel() // max(1, count)),))
    return tuple(values.tolist())
