"""Perceptual loss on the feature maps of a trained restoration network, which needs no download."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr import _resources, model_zoo
from hfsr.checkpoints import load_checkpoint, read_model_folder
from hfsr.errors import OptionsError, suggest
from hfsr.registry import LOSSES

__all__ = ["RestorerFeatureLoss"]

_DISTANCES = {"l1": F.l1_loss, "l2": F.mse_loss}


@LOSSES.register
class RestorerFeatureLoss(nn.Module):
    """Distance between feature maps of output and ground truth in a frozen restoration network.

    VGG's features (`PerceptualLoss`) were learned from the labels of ImageNet. A denoiser has learned its
    features from images alone: it must distinguish edges and textures from noise. Layers after the last
    selected one do not run.

    Args:
        network: bundled name, model folder or checkpoint; it takes RGB.
        layers: weight of each layer, by the name of its module, for example {body.1: 1.0}.
        criterion: mean absolute error (l1) or mean squared error (l2).
        loss_weight: factor on the result.

    Raises:
        OptionsError: a layer does not exist, or the network takes other channels than RGB.
        CheckpointError: the network cannot be found or read.
    """

    def __init__(
        self,
        *,
        layers: Mapping[str, float],
        network: str = "hfsr-denoise",
        criterion: Literal["l1", "l2"] = "l1",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not layers:
            raise OptionsError("layers: is empty; name at least one layer, for example {body.1: 1.0}")
        self.layers, self.loss_weight, self.source = dict(layers), loss_weight, network
        self.distance = _DISTANCES[criterion]
        self.network = _load(network)
        if model_zoo.input_channels(self.network) != 3:
            raise OptionsError(f"network: '{network}' does not take RGB; use another one")
        self._found: dict[str, Tensor] = {}
        self._watch()
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> RestorerFeatureLoss:
        """Ignores `mode`: the network stays in evaluation mode."""
        return super().train(False)

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: a scalar."""
        sr_maps = self.features(sr)
        with torch.no_grad():
            gt_maps = self.features(gt)
        parts = [weight * self.distance(sr_maps[name], gt_maps[name]) for name, weight in self.layers.items()]
        return self.loss_weight * torch.stack(parts).sum()

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: the output of each layer in its first call.

        Raises:
            OptionsError: the network does not run a layer.
        """
        self._found = {}
        with contextlib.suppress(_EarlyExitError):
            self.network(x)
        found, self._found = self._found, {}
        for name in self.layers:
            if name not in found:
                raise OptionsError(f"layers.{name}: '{self.source}' does not run it; name another layer")
        return found

    def _watch(self) -> None:
        known = {name: module for name, module in self.network.named_modules() if name}
        for name in self.layers:
            if name not in known:
                raise OptionsError(f"layers.{name}: '{self.source}' has no such layer{suggest(name, known)}")
            known[name].register_forward_hook(partial(self._store, name))
        for module in known.values():
            if getattr(module, "inplace", False):  # it would overwrite the output of the layer before it
                module.inplace = False

    def _store(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise OptionsError(f"layers.{name}: the output of this layer is no feature map; name another one")
        self._found.setdefault(name, output)
        if len(self._found) == len(self.layers):
            raise _EarlyExitError


class _EarlyExitError(Exception):
    """Ends a run of the network after the last selected layer."""


def _load(name: str) -> nn.Module:
    if name in _resources.bundled_models():
        return read_model_folder(_resources.path("weights", name))
    path = Path(name)
    return read_model_folder(path) if path.is_dir() else load_checkpoint(path)
