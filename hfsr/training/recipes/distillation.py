"""Distillation: a network learns from the outputs and feature maps of a trained one.

Feature maps are compared by their spatial attention, the mean square over the channels of each px, so that
networks of different widths are compared without further weights: Zagoruyko and Komodakis, ICLR 2017,
https://arxiv.org/abs/1612.03928.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import hub, model_zoo
from hfsr.errors import OptionsError, suggest
from hfsr.options import TrainOptions

from .content_losses import build_loss, training_of

__all__ = ["Distillation", "attention"]


def attention(features: Tensor) -> Tensor:
    """Spatial attention of feature maps, (B, C, H, W) to (B, 1, H, W); its mean square is 1 in each image."""
    energy = features.float().square().mean(dim=1, keepdim=True)
    return energy / energy.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-12)


class Distillation(nn.Module):
    """The losses of `train.distill_opt`; the teacher is frozen and no part of the run's state.

    Args:
        options: the file.
        student: the network that learns; the outputs of some of its modules are watched.

    Raises:
        OptionsError: the teacher has another scale or other channels, or a layer does not exist.
        CheckpointError, HubError: the teacher cannot be found or read.
    """

    def __init__(self, options: TrainOptions, student: nn.Module) -> None:
        super().__init__()
        section = training_of(options).distill_opt
        if section is None:
            raise OptionsError("train.distill_opt: is missing")
        if options.use_compile and section.layers:
            raise OptionsError(
                "train.distill_opt.layers: feature maps cannot be watched with use_compile: true"
            )
        self.output = build_loss(section.output_opt) if section.output_opt else None
        self.feature = build_loss(section.feature_opt) if section.layers else None
        self.layers, self.teacher = dict(section.layers), hub.from_pretrained(section.teacher)
        self.teacher.eval().requires_grad_(False)
        self._check(section.teacher, student)
        self._seen: dict[tuple[str, str], Tensor] = {}
        networks = {
            "student": (student, list(self.layers)),
            "teacher": (self.teacher, [*self.layers.values()]),
        }
        self._watched = [
            (side, name, _layer(side, network, name))
            for side, (network, names) in networks.items()
            for name in names
        ]

    def forward(self, lq: Tensor, run: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs both networks and compares them.

        Args:
            lq: what both get.
            run: runs the student on it.

        Returns:
            The student's output, and scalars by their names in logs.

        Raises:
            OptionsError: a layer gives no feature maps, or two have different sizes.
        """
        # Only meanwhile: copies of the student, which are validated, must not carry the hooks.
        hooks = [
            module.register_forward_hook(partial(self._keep, side, name))
            for side, name, module in self._watched
        ]
        try:
            sr = run()
            with torch.no_grad():
                expected = self.teacher(lq)
        finally:
            for hook in hooks:
                hook.remove()
        found: dict[str, Tensor] = {}
        if self.output is not None:
            found["l_distill"] = self.output(sr, expected)
        if self.feature is not None:
            found["l_distill_feat"] = torch.stack(
                [self._distance(*names) for names in self.layers.items()]
            ).mean()
        self._seen.clear()
        return sr, found

    def _distance(self, own: str, other: str) -> Tensor:
        ours, theirs = self._seen["student", own], self._seen["teacher", other]
        if ours.shape[2:] != theirs.shape[2:]:
            sizes = [f"{maps.shape[3]}x{maps.shape[2]}" for maps in (ours, theirs)]
            raise OptionsError(
                f"train.distill_opt.layers: '{own}' gives maps of {sizes[0]} px, '{other}' of {sizes[1]}; "
                "choose layers of equal size"
            )
        loss: Any = self.feature
        return loss(attention(ours), attention(theirs))

    def _check(self, name: str, student: nn.Module) -> None:
        scales = getattr(self.teacher, "scale", 1), getattr(student, "scale", 1)
        if scales[0] != scales[1]:
            raise OptionsError(
                f"train.distill_opt.teacher: '{name}' enlarges by {scales[0]:g}, network_g by {scales[1]:g}"
            )
        channels = model_zoo.input_channels(self.teacher), model_zoo.input_channels(student)
        if channels[0] != channels[1]:
            raise OptionsError(
                f"train.distill_opt.teacher: '{name}' takes {channels[0]} channels, network_g {channels[1]}"
            )

    def _keep(self, side: str, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise OptionsError(f"train.distill_opt.layers: '{name}' of the {side} gives no feature maps")
        self._seen[side, name] = output


def _layer(side: str, network: nn.Module, name: str) -> nn.Module:
    modules = {known: module for known, module in network.named_modules() if known}
    if name not in modules:
        raise OptionsError(
            f"train.distill_opt.layers: the {side} has no layer '{name}'{suggest(name, modules)}"
        )
    return modules[name]
