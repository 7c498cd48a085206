"""A network that learns, with all that its learning takes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hfsr.optim import LRSchedule, build_optimizer, build_schedule, parameter_groups
from hfsr.options.models import ParameterGroup, TrainingOptions, Typed

from ..loop.ema import Ema
from .scale_adapter import ScaleAdapter, leaves_some_idle

__all__ = ["TrainableNetwork"]


class TrainableNetwork:
    """One network, its optimizer, its schedule, its average and the limits of its gradients.

    Args:
        network: on its device; frozen parameters are left as they are.
        optim: the optimizer's section.
        train: schedule, warm-up and clipping.
        groups: parameters with a rate of their own, or frozen.
        ema_decay: of the averaged weights; 0 for none.
        runs: what is called in training, where it is not the network itself.
    """

    network: nn.Module
    """As built: what is saved. Training calls the learner itself."""
    optimizer: torch.optim.Optimizer
    learning: list[str]
    """Names of the parameters that learn, in the order in which the optimizer counts them."""
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
        """Hands network and optimizer to accelerate.

        Args:
            accelerator: of the processes.
            find_unused: parameters may stay without a gradient in some iterations.
        """
        self._accelerator = accelerator
        if accelerator.ddp_handler is not None and accelerator.num_processes > 1:
            idle = isinstance(self._runs, ScaleAdapter) and leaves_some_idle(self._runs)
            accelerator.ddp_handler.find_unused_parameters = idle or find_unused
        self._runs, self.optimizer = accelerator.prepare(self._runs, self.optimizer)
        if isinstance(self._runs, DistributedDataParallel):
            # Every process updates its own buffers and the main one's are saved; sending them round at each
            # step costs time, and fails for a lone buffer in channels-last order.
            self._runs.broadcast_buffers = False

    def __call__(self, *inputs: Any) -> Any:
        """Runs the network for training: gradients are averaged over the processes."""
        return self._runs(*inputs)

    def forward_frozen(self, *inputs: Tensor) -> Any:
        """Runs the network as it is: gradients go through it to its inputs and none to its parameters."""
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
        """What training would get now: no gradients, and statistics of batches stay as they were."""
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        try:
            return self._runs(*inputs)
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)

    def synchronized(self, yes: bool) -> contextlib.AbstractContextManager[Any]:
        """Whether a backward pass in this context averages the gradients over the processes."""
        return contextlib.nullcontext() if yes else self._accelerator.no_sync(self._runs)

    @torch.no_grad()
    def update(self) -> None:
        """Limits the gradients, moves the weights, and clears the gradients."""
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
