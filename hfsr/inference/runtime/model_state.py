"""State of a model on which its result depends, for noticing a change between two images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["ModelState"]


class _TensorState(NamedTuple):
    address: int
    version: int
    dtype: torch.dtype
    device: torch.device


class ModelState(NamedTuple):
    """Mode of a model, and the address and version of each of its tensors.

    Every change in place raises the version of a tensor, as `load_state_dict` and optimizers do; assigning to
    `.data` changes its address.
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
    version = 0 if tensor.is_inference() else tensor._version  # which inference tensors do not count
    return _TensorState(tensor.data_ptr(), version, tensor.dtype, tensor.device)
