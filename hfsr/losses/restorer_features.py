"""Perceptual loss on the feature maps of a trained restoration network, which needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, fx, nn
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
        self.weights, self.loss_weight = list(layers.values()), loss_weight
        self.distance = _DISTANCES[criterion]
        model = _load(network)
        if model_zoo.input_channels(model) != 3:
            raise OptionsError(f"network: '{network}' does not take RGB; use another one")
        self.features = _after_layers(model, list(layers), network)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> RestorerFeatureLoss:
        """Ignores `mode`: the network stays in evaluation mode."""
        return super().train(False)

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W). Returns: a scalar."""
        sr_maps = self.features(sr)
        with torch.no_grad():
            gt_maps = self.features(gt)
        parts = [w * self.distance(x, y) for w, x, y in zip(self.weights, sr_maps, gt_maps, strict=True)]
        return self.loss_weight * torch.stack(parts).sum()


def _load(name: str) -> nn.Module:
    if name in _resources.bundled_models():
        return read_model_folder(_resources.path("weights", name))
    path = Path(name)
    return read_model_folder(path) if path.is_dir() else load_checkpoint(path)


def _after_layers(model: nn.Module, names: list[str], source: str) -> nn.Module:
    """Returns the part of a network that computes the outputs of these layers, in their order.

    Raises:
        OptionsError: the network has no such layer.
    """
    known = dict(model.named_modules())
    for name in names:
        if name not in known or not name:
            raise OptionsError(f"layers.{name}: '{source}' has no such layer{suggest(name, known)}")
    if not names:
        raise OptionsError("layers: is empty; name at least one layer, for example {body.1: 1.0}")
    for module in model.modules():
        if getattr(module, "inplace", False):  # it would overwrite the output of the layer before it
            module.inplace = False  # type: ignore[assignment]
    graph = _Tracer(model, set(names)).trace(model)
    outputs = {node.target: node for node in graph.nodes if node.op == "call_module"}
    for name in names:
        if name not in outputs:
            raise OptionsError(f"layers.{name}: '{source}' does not run this module; name another one")
    end = next(node for node in graph.nodes if node.op == "output")
    end.args = (tuple(outputs[name] for name in names),)
    part = fx.GraphModule(model, graph)
    part.graph.eliminate_dead_code()
    part.recompile()
    part.delete_all_unused_submodules()
    return part


class _Tracer(fx.Tracer):
    """Records the selected modules as nodes, also those with other modules inside.

    Args:
        model: the network; its `core`, if it has one, contains no checks of the image size.
        selected: names of modules.
    """

    def __init__(self, model: nn.Module, selected: set[str]) -> None:
        super().__init__()
        self.traced_func_name = "core" if hasattr(model, "core") else "forward"
        self._selected = selected

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._selected or super().is_leaf_module(m, module_qualified_name)
