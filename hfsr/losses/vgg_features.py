"""Feature maps of VGG networks trained for classification, which perceptual losses compare."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import _compat, model_zoo
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import HubError, MissingDependencyError, OptionsError, suggest

__all__ = ["MINC", "VGGFeatures"]

MINC = "minc"
"""`vgg_type` of the VGG16 that ESRGAN uses, trained on the material data set MINC."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))


class VGGFeatures(nn.Module):
    """Feature maps of a frozen VGG network after selected layers.

    Layers are named as in BasicSR: `conv5_4` is the fourth convolution after the fourth pool, before its
    activation `relu5_4`; `pool5` follows. Layers after the last selected one are removed.

    Args:
        layers: names of the selected layers.
        vgg_type: `vgg11`, `vgg13`, `vgg16`, `vgg19`, each also with `_bn` (from timm), or `minc`.
        pretrained: False leaves the weights random. timm downloads the ImageNet weights from the Hub.
        weights: weight file or model folder for `minc`, which has no official download.
        use_input_norm: subtract ImageNet's mean and divide by its standard deviation.
        range_norm: the input is in [-1, 1] instead of [0, 1].

    Raises:
        OptionsError: the network or a layer does not exist, or `minc` has no `weights`.
        HubError: the weights cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: Iterable[str],
        *,
        vgg_type: str = "vgg19",
        pretrained: bool = True,
        weights: str | None = None,
        use_input_norm: bool = True,
        range_norm: bool = False,
    ) -> None:
        super().__init__()
        selected = list(layers)
        if vgg_type == MINC:
            named = _minc(pretrained, weights)
            _check_layers(selected, named, vgg_type)
        else:
            _check_layers(selected, _vgg(vgg_type, pretrained=False), vgg_type)  # before the download
            named = _vgg(vgg_type, pretrained=pretrained)
        names = [name for name, _ in named]
        last = max((names.index(name) for name in selected), default=-1)
        self.layers = nn.ModuleDict(dict(named[: last + 1]))
        self.selected, self.range_norm, self.use_input_norm = selected, range_norm, use_input_norm
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> VGGFeatures:
        """Ignores `mode`: the network stays in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Args: x: RGB in [0, 1] (or [-1, 1]), (B, 3, H, W). Returns: (B, C, h, w) of each layer."""
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        maps = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in self.selected:
                maps[name] = x
        return maps


def _check_layers(selected: Iterable[str], named: list[tuple[str, nn.Module]], vgg_type: str) -> None:
    names = [name for name, _ in named]
    for name in selected:
        if name not in names:
            raise OptionsError(f"layer_weights.{name}: {vgg_type} has no such layer{suggest(name, names)}")


def _vgg(vgg_type: str, *, pretrained: bool) -> list[tuple[str, nn.Module]]:
    """Returns the layers of a VGG of timm, with their names."""
    if vgg_type not in _VGGS:
        raise OptionsError(f"vgg_type: no network named '{vgg_type}'{suggest(vgg_type, (*_VGGS, MINC))}")
    if pretrained:
        features = _create(vgg_type, pretrained=True).features
    else:  # on the meta device: the dense layers, ten times as large as the rest, are not allocated
        with torch.device("meta"):
            features = _create(vgg_type, pretrained=False).features
        features = features.to_empty(device="cpu")
        for module in features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.reset_parameters()
    named: list[tuple[str, nn.Module]] = []
    stage, number = 1, 0
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            number += 1
            named.append((f"conv{stage}_{number}", layer))
        elif isinstance(layer, nn.BatchNorm2d):
            named.append((f"bn{stage}_{number}", layer))
        elif isinstance(layer, nn.ReLU):
            # Not timm's layer: it works in place and would overwrite the feature map before it.
            named.append((f"relu{stage}_{number}", nn.ReLU()))
        else:
            named.append((f"pool{stage}", layer))
            stage, number = stage + 1, 0
    return named


def _create(vgg_type: str, *, pretrained: bool) -> Any:
    _compat.import_torchvision()
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise MissingDependencyError("timm", extra="train", purpose="a perceptual loss") from error
    try:
        return timm.create_model(vgg_type, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HubError(
            f"the weights of {vgg_type} cannot be downloaded from the Hub ({reason}); download them once "
            "while online, or remove the perceptual loss"
        ) from error


def _minc(pretrained: bool, weights: str | None) -> list[tuple[str, nn.Module]]:
    if pretrained and weights is None:
        raise OptionsError(
            "vgg_type minc needs weights (a file like VGG16minc_53.pth): they have no official download"
        )
    network: Any = load_checkpoint(weights, arch="VGG16MINC") if weights else model_zoo.build("VGG16MINC")
    return network.layers()
