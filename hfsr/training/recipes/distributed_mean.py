"""Differentiable means over all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["global_mean", "mean_of_processes"]


def global_mean(x: Tensor) -> Tensor:
    """Returns the mean of `x` over its elements and all processes, which have equal numbers of elements."""
    return mean_of_processes(x.mean())


def mean_of_processes(x: Tensor) -> Tensor:
    """Returns the mean of each element over the processes.

    Its gradient is correct if the gradients of parameters are averaged over the processes, as DDP does: the
    effect of a process's `x` on the losses of the others returns to that process.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        x = _MeanOfProcesses.apply(x)
    return x


class _MeanOfProcesses(torch.autograd.Function):
    """Averages values over the processes, and gradients likewise.

    With N processes, the loss is the mean of the losses L_p, and m the mean of the x_q. DDP divides the
    gradient of process q by N, so that q must compute d(sum of L_p)/dx_q = 1/N * sum over p of dL_p/dm: the
    mean of the gradients that arrive here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _average(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _average(gradient)


def _average(x: Tensor) -> Tensor:
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
