"""Networks of LPIPS and DISTS, which compare feature maps of classifiers; for the metrics and the losses.

LPIPS: Zhang et al., CVPR 2018, https://arxiv.org/abs/1801.03924, version 0.1.
DISTS: Ding et al., TPAMI 2020, https://arxiv.org/abs/2004.07728.

The few weights of the comparisons are those that torchmetrics contains; the classifiers are torchvision's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr._compat import import_torchvision
from hfsr.errors import MissingDependencyError

__all__ = [
    "MIN_SIDE",
    "DistsNetwork",
    "LpipsNet",
    "LpipsNetwork",
    "backbone",
    "classifier_name",
    "classifier_weights",
    "feature_weights",
]

LpipsNet = Literal["alex", "squeeze", "vgg"]
MIN_SIDE = 32
"""Minimum side of an image in px; the deepest layers of the networks need it."""
_CLASSIFIERS: Mapping[str, tuple[str, str]] = {
    "alex": ("alexnet", "AlexNet"),
    "squeeze": ("squeezenet1_1", "SqueezeNet1_1"),
    "vgg": ("vgg16", "VGG16"),
}
"""Name of a network here -> torchvision's function, and the start of the name of its weights."""
_LAYERS: Mapping[str, tuple[int, ...]] = {
    "alex": (1, 4, 7, 9, 11),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
    "vgg": (3, 8, 15, 22, 29),
}
"""Layers of torchvision's `features` whose maps are compared: activations."""
_VGG_WIDTHS = (3, 64, 128, 256, 512, 512)
"""Channels of the maps that DISTS compares; the first one is the image."""


def backbone(net: str, *, pretrained: bool) -> nn.Sequential:
    """Builds the convolutional layers of a classifier, with random weights or those of torchvision.

    torchvision downloads its weights unless it has done so before.

    Raises:
        MissingDependencyError: torchvision is not installed.
        OSError, RuntimeError: the weights cannot be downloaded.
    """
    import_torchvision()
    models = importlib.import_module("torchvision.models")
    function, title = _CLASSIFIERS[net]
    features: nn.Sequential
    if pretrained:
        features = getattr(models, function)(weights=getattr(models, f"{title}_Weights").DEFAULT).features
        return features
    with torch.device("meta"):  # the dense layers, ten times as large as the rest, are not allocated
        features = getattr(models, function)(weights=None).features
    features.to_empty(device="cpu")
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return features


def classifier_name(net: str) -> str:
    """Returns torchvision's name of the classifier whose layers `backbone` builds."""
    return _CLASSIFIERS[net][1]


def classifier_weights(net: str) -> tuple[str, Path]:
    """Returns the address of torchvision's weights of a classifier, and the path of their download."""
    import_torchvision()
    models = importlib.import_module("torchvision.models")
    url: str = getattr(models, f"{classifier_name(net)}_Weights").DEFAULT.url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def feature_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of the layers that `backbone` builds, from the state dict of a whole classifier."""
    start = "features."
    return {key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}


class _Frozen(nn.Module):
    """A network in evaluation mode whose parameters are not trained."""

    def freeze(self) -> None:
        """Disables the gradients of the parameters; those of the images stay."""
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> _Frozen:
        """Stays in evaluation mode."""
        return super().train(False)


class LpipsNetwork(_Frozen):
    """LPIPS of two batches.

    Args:
        net: AlexNet, SqueezeNet or VGG16.
        features: the layers from `backbone`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: LpipsNet, features: nn.Sequential) -> None:
        super().__init__()
        self.layers = _LAYERS[net]
        self.features = nn.Sequential(*list(features)[: self.layers[-1] + 1])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)
        for number, weight in enumerate(_packaged_weights(f"lpips_models/{net}.pth").values()):
            self.register_buffer(f"weight{number}", weight)
        self.freeze()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Args: a, b: RGB in [0, 1], (B, 3, H, W), at least 32 px. Returns: (B,), 0 for equal images."""
        maps = zip(self._maps(a), self._maps(b), strict=True)
        return torch.stack(
            [
                F.conv2d((_unit(x) - _unit(y)) ** 2, getattr(self, f"weight{number}")).mean((1, 2, 3))
                for number, (x, y) in enumerate(maps)
            ]
        ).sum(0)

    def _maps(self, image: Tensor) -> list[Tensor]:
        x, maps = (2 * image - 1 - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.layers:
                maps.append(x)
        return maps


class DistsNetwork(_Frozen):
    """DISTS of two batches: structure and texture of VGG16's feature maps, and of the images.

    Args:
        features: VGG16's layers from `backbone`; its maximum pools are replaced by L2 pools.
    """

    mean: Tensor
    std: Tensor
    window: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(features)[: _LAYERS["vgg"][-1] + 1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        side = np.hanning(5)[1:-1]
        window = torch.tensor(np.outer(side, side) / side.sum() ** 2, dtype=torch.float32)
        self.register_buffer("window", window, persistent=False)
        weights = _packaged_weights("dists_models/weights.pt")
        total = weights["alpha"].sum() + weights["beta"].sum()
        for name in ("alpha", "beta"):
            self.register_buffer(name, (weights[name] / total).detach().flatten())
        self.freeze()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Args: a, b: RGB in [0, 1], (B, 3, H, W), at least 32 px. Returns: (B,), 0 for equal images."""
        alike = a.new_zeros(len(a))
        weights = zip(self.alpha.split(_VGG_WIDTHS), self.beta.split(_VGG_WIDTHS), strict=True)
        for x, y, (alpha, beta) in zip(self._maps(a), self._maps(b), weights, strict=True):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
            deviation_x, deviation_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
            covariance = (deviation_x * deviation_y).mean((2, 3))
            variances = (deviation_x**2).mean((2, 3)) + (deviation_y**2).mean((2, 3))
            texture = (2 * mean_x * mean_y + 1e-6) / (mean_x**2 + mean_y**2 + 1e-6)
            structure = (2 * covariance + 1e-6) / (variances + 1e-6)
            alike = alike + (alpha * texture + beta * structure).sum(1)
        return 1 - alike

    def _maps(self, image: Tensor) -> list[Tensor]:
        x, maps = (image - self.mean) / self.std, [image]
        for number, layer in enumerate(self.features):
            x = self._l2_pool(x) if isinstance(layer, nn.MaxPool2d) else layer(x)
            if number in _LAYERS["vgg"]:
                maps.append(x)
        return maps

    def _l2_pool(self, x: Tensor) -> Tensor:
        window = self.window.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x**2, window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _unit(x: Tensor) -> Tensor:
    """Scales the feature vector of each px to length 1."""
    return x / (1e-8 + (x**2).sum(1, keepdim=True)).sqrt()


def _packaged_weights(name: str) -> dict[str, Any]:
    """Reads a file of weights that is part of torchmetrics.

    Raises:
        MissingDependencyError: torchmetrics is not installed.
    """
    spec = find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("torchmetrics", extra="train", purpose="LPIPS and DISTS")
    file = Path(spec.origin).parent / "functional" / "image" / name
    return dict(torch.load(file, map_location="cpu", weights_only=True))
