"""A network in training, with its optimizer, schedule and average."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hfsr.optim import LRSchedule, build_optimizer, build_schedule, parameter_groups
from hfsr.options.sections import ParameterGroup, TrainingOptions, Typed

from ..loop.ema import Ema
from .scale_adapter import ScaleAdapter, leaves_some_idle

__all__ = ["TrainableNetwork"]


class TrainableNetwork:
    """One network, its optimizer, its schedule, its average and its gradient clipping.

    Args:
        network: the network on its device; frozen parameters stay frozen.
        optim: section of the optimizer.
        train: section with schedule, warm-up and clipping.
        groups: parameters with a learning rate of their own, or frozen.
        ema_decay: decay of the averaged weights; 0 for no average.
        runs: the module that training calls, if it is not the network itself.
    """

    network: nn.Module
    """The network without wrappers, which is saved. Training calls this object instead."""
    optimizer: torch.optim.Optimizer
    learning: list[str]
    """Names of the trained parameters, in the order of the optimizer's indices."""
    schedule: LRSchedule
    """Factor on the learning rate, by iteration."""
    average: Ema | None

    def __init__(
        self,
        network: nn.Module,
        optim: Typed,
        train: TrainingOptions,
        *,
        groups: Sequence[ParameterGroup] = (),
        ema_decay: float = 0.0,
        runs: nn.Module | None = None,
    ) -> None:
        self.network, self._runs = network, runs or network
        rules = [(group.match, group.lr_mul) for group in groups]
        parameters = parameter_groups(network, rules, lr=optim.arguments.get("lr"))
        self.optimizer = build_optimizer(optim.type, parameters, **optim.arguments)
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        self.learning = [names[id(p)] for group in self.optimizer.param_groups for p in group["params"]]
        scheduler = train.scheduler
        self.schedule = build_schedule(
            scheduler.type if scheduler else None,
            self.optimizer.defaults["lr"],
            train.warmup_iter,
            **(scheduler.arguments if scheduler else {}),
        )
        self.average = Ema(network, ema_decay) if ema_decay > 0 else None
        self.clip_grad_norm, self.clip_grad_step = train.clip_grad_norm, train.clip_grad_step

    def prepare(self, accelerator: Accelerator, *, find_unused: bool = False) -> None:
        """Passes network and optimizer to accelerate.

        Args:
            accelerator: accelerator of the processes.
            find_unused: True if parameters may have no gradient in some iterations.
        """
        self._accelerator = accelerator
        if accelerator.ddp_handler is not None and accelerator.num_processes > 1:
            idle = isinstance(self._runs, ScaleAdapter) and leaves_some_idle(self._runs)
            accelerator.ddp_handler.find_unused_parameters = idle or find_unused
        self._runs, self.optimizer = accelerator.prepare(self._runs, self.optimizer)
        if isinstance(self._runs, DistributedDataParallel):
            # Every process updates its own buffers, and those of the main one are saved. Broadcasting them in
            # each step takes time, and fails for a single buffer in channels-last format.
            self._runs.broadcast_buffers = False

    def __call__(self, *inputs: Any) -> Any:
        """Runs the network for training: gradients are averaged over the processes."""
        return self._runs(*inputs)

    def forward_frozen(self, *inputs: Tensor) -> Any:
        """Runs the network with frozen weights: gradients reach its inputs but not its parameters."""
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            return self.network(*inputs)
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)

    @torch.no_grad()
    def forward_no_grad(self, *inputs: Tensor) -> Any:
        """Runs a training forward pass without gradients; BatchNorm buffers are restored."""
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        try:
            return self._runs(*inputs)
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)

    def synchronized(self, yes: bool) -> contextlib.AbstractContextManager[Any]:
        """Returns a context whose backward pass averages the gradients over the processes if `yes`."""
        return contextlib.nullcontext() if yes else self._accelerator.no_sync(self._runs)

    @torch.no_grad()
    def update(self) -> None:
        """Clips the gradients, updates the weights, and clears the gradients."""
        groups = self.optimizer.param_groups
        if self.clip_grad_norm is not None or self.clip_grad_step is not None:
            self._accelerator.unscale_gradients(self.optimizer)
        if self.clip_grad_step is not None:
            for group in groups:
                limit = self.clip_grad_step / max(group["lr"], 1e-30)
                gradients = [p.grad for p in group["params"] if p.grad is not None]
                torch._foreach_clamp_min_(gradients, -limit)
                torch._foreach_clamp_max_(gradients, limit)
        if self.clip_grad_norm is not None:
            parameters = [parameter for group in groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
