"""Maps inside networks that were trained to recognise things: what perceptual losses compare."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hfsr import _compat, model_zoo
from hfsr.checkpoints import load_checkpoint
from hfsr.errors import HubError, MissingDependencyError, OptionsError, suggest

__all__ = ["MINC", "Features"]

MINC = "minc"
"""The `vgg_type` of ESRGAN's network for materials."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))


class Features(nn.Module):
    """The maps of a frozen VGG after some of its layers.

    Layers are named as in BasicSR: `conv5_4` is the fourth convolution after the fourth pool, before its
    activation `relu5_4`; `pool5` follows. Layers behind the last one wanted are left out.

    Args:
        layers: names of those wanted.
        vgg_type: `vgg11`, `vgg13`, `vgg16`, `vgg19`, each also with `_bn` (timm's), or `minc`.
        pretrained: False leaves the weights random. timm fetches those of ImageNet from the Hub.
        weights: file or folder of the weights of `minc`, for which there is no known origin.
        use_input_norm: subtract ImageNet's mean and divide by its deviation.
        range_norm: the input is in [-1, 1], not in [0, 1].

    Raises:
        OptionsError: no such network or layer, or no weights named for `minc`.
        HubError: the weights cannot be fetched.
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
        wanted = list(layers)
        if vgg_type == MINC:
            named = _minc(pretrained, weights)
            _check(wanted, named, vgg_type)
        else:
            _check(wanted, _vgg(vgg_type, pretrained=False), vgg_type)  # before anything is fetched
            named = _vgg(vgg_type, pretrained=pretrained)
        names = [name for name, _ in named]
        last = max((names.index(name) for name in wanted), default=-1)
        self.layers = nn.ModuleDict(dict(named[: last + 1]))
        self.wanted, self.range_norm, self.use_input_norm = wanted, range_norm, use_input_norm
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Features:
        """Stays as it is: what it measures must not move."""
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Args: x: RGB in [0, 1] (or [-1, 1]), (B, 3, H, W). Returns: the maps, (B, C, h, w), by layer."""
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        found = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in self.wanted:
                found[name] = x
        return found


def _check(wanted: Iterable[str], named: list[tuple[str, nn.Module]], vgg_type: str) -> None:
    names = [name for name, _ in named]
    for name in wanted:
        if name not in names:
            raise OptionsError(f"layer_weights.{name}: {vgg_type} has no such layer{suggest(name, names)}")


def _vgg(vgg_type: str, *, pretrained: bool) -> list[tuple[str, nn.Module]]:
    """The layers of one of timm's VGGs, named."""
    if vgg_type not in _VGGS:
        raise OptionsError(f"vgg_type: there is no '{vgg_type}'{suggest(vgg_type, (*_VGGS, MINC))}")
    if pretrained:
        features = _create(vgg_type, pretrained=True).features
    else:  # built without memory: its dense layers, ten times as large, are not wanted
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
            named.append((f"relu{stage}_{number}", nn.ReLU()))  # theirs writes over the map before it
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
            f"the weights of {vgg_type} cannot be fetched from the Hub ({reason}): fetch them once while "
            "online, or leave the perceptual loss out"
        ) from error


def _minc(pretrained: bool, weights: str | None) -> list[tuple[str, nn.Module]]:
    if pretrained and weights is None:
        raise OptionsError(
            "vgg_type minc needs weights, a file like VGG16minc_53.pth: nobody publishes them, so none are "
            "fetched"
        )
    network: Any = load_checkpoint(weights, arch="VGG16MINC") if weights else model_zoo.build("VGG16MINC")
    return network.layers()
