"""LPIPS and DISTS as losses. Their weights are never downloaded unless the option file names the Hub."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hfsr import _compat
from hfsr.checkpoints import read_state_dict
from hfsr.errors import CheckpointError, DataError, HubError, MissingDependencyError, OptionsError, some_of
from hfsr.metrics.perceptual_networks import (
    MIN_SIDE,
    DistsNetwork,
    LpipsNet,
    LpipsNetwork,
    backbone,
    classifier_name,
    classifier_weights,
    feature_weights,
)
from hfsr.registry import LOSSES

__all__ = ["DISTSLoss", "LPIPSLoss"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class _NetworkLoss(nn.Module):
    """Mean over the batch of a network's distance of two images."""

    network: nn.Module

    def __init__(self, network: nn.Module, loss_weight: float) -> None:
        super().__init__()
        self.network, self.loss_weight = network, loss_weight

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """Args: sr, gt: RGB in [0, 1], (B, 3, H, W), at least 32 px. Returns: a scalar.

        Raises:
            DataError: if the patches are too small.
        """
        side = min(sr.shape[-2:])
        if side < MIN_SIDE:
            raise DataError(
                f"{type(self).__name__} needs GT patches of at least {MIN_SIDE} px, not {side}; raise "
                "datasets.train.gt_size"
            )
        # Not in mixed precision: small variances and squares of the feature maps need float32.
        with torch.autocast(sr.device.type, enabled=False):
            return self.loss_weight * self.network(sr.float(), gt.float()).mean()


@LOSSES.register
class LPIPSLoss(_NetworkLoss):
    """LPIPS (Zhang et al. 2018, version 0.1): distance of feature maps, weighted as people perceive it.

    Args:
        loss_weight: factor on the result.
        net: alex, squeeze or vgg.
        weights: weights of the classifier (AlexNet, SqueezeNet 1.1 or VGG16) that was trained on ImageNet: a
            file as torchvision provides it, or an id on the Hub with such a file, for example
            timm/vgg16.tv_in1k; `~` reads torchvision's file if it was downloaded before.
        pretrained: False leaves the weights of the classifier random.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        net: LpipsNet = "vgg",
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        features = _features(net, weights, pretrained=pretrained, loss="LPIPSLoss")
        super().__init__(LpipsNetwork(net, features), loss_weight)


@LOSSES.register
class DISTSLoss(_NetworkLoss):
    """DISTS (Ding et al. 2020): structure and texture of the feature maps of VGG16.

    Args:
        loss_weight: factor on the result.
        weights, pretrained: as for `LPIPSLoss`, of VGG16.
    """

    def __init__(
        self, *, loss_weight: float = 1.0, weights: str | None = None, pretrained: bool = True
    ) -> None:
        features = _features("vgg", weights, pretrained=pretrained, loss="DISTSLoss")
        super().__init__(DistsNetwork(features), loss_weight)


def _features(net: str, weights: str | None, *, pretrained: bool, loss: str) -> nn.Sequential:
    """Builds the layers of a classifier with the weights that the option file names.

    Raises:
        OptionsError: no weights are named and none were downloaded before.
        CheckpointError: the file is none of this network.
        HubError: the Hub has no such file, or cannot be reached.
    """
    state = torch.random.get_rng_state()
    features = backbone(net, pretrained=False)
    if not pretrained:
        return features
    torch.random.set_rng_state(state)  # the random weights are replaced
    title = classifier_name(net)
    if weights is None:
        url, known = classifier_weights(net)
        if not known.is_file():
            hub = " or weights: timm/vgg16.tv_in1k, which is downloaded," if net == "vgg" else ""
            raise OptionsError(
                f"{loss} needs the weights of {title}: write weights: FILE with {url},{hub} or put that file "
                f"into '{known.parent}'"
            )
        weights = str(known)
    path = Path(weights).expanduser()
    tensors = read_state_dict(path)[0] if path.is_file() else _from_hub(weights, loss)
    _load(features, feature_weights(tensors), source=f"'{weights}'", title=title)
    return features


def _load(features: nn.Sequential, tensors: Mapping[str, Tensor], *, source: str, title: str) -> None:
    """Loads the weights of all layers.

    Raises:
        CheckpointError: the file is of another network.
    """
    own = features.state_dict()
    missing = [key for key in own if key not in tensors or tensors[key].shape != own[key].shape]
    if missing:
        raise CheckpointError(
            f"{source} is not {title} of torchvision: it has no fitting features.{some_of(missing)}; name "
            "the file of that network"
        )
    features.load_state_dict({key: tensors[key] for key in own})


def _from_hub(name: str, loss: str) -> Mapping[str, Tensor]:
    """Downloads a state dict from the Hub into the client's cache."""
    if not _HUB_ID.fullmatch(name):
        raise OptionsError(f"{loss}.weights: there is no file '{name}'; name a file or an id on the Hub")
    _compat.import_torchvision()
    try:
        timm_models = importlib.import_module("timm.models")
    except ModuleNotFoundError as error:
        raise MissingDependencyError("timm", extra="train", purpose=f"weights of {loss}") from error
    try:
        tensors: Mapping[str, Tensor] = timm_models.load_state_dict_from_hf(name)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HubError(
            f"the weights '{name}' of {loss} cannot be downloaded from the Hub ({reason}); name a file "
            "instead"
        ) from error
    return tensors
