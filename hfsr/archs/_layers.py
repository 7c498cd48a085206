"""Layers and key helpers that several networks share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import CheckpointError, OptionsError

from ._readings import DIV2K_MEAN, Reading, argument_key, mean_shift_readings, range_of_mean
from ._spec import StateDict

__all__ = [
    "DIV2K_MEAN",
    "NO_MEAN",
    "MeanShift",
    "ResidualBlock",
    "Upsampler",
    "absorb_mean_layers",
    "count_indices",
    "edsr_family_readings",
    "ends_of",
    "has_convolutions",
    "rename_keys",
    "scale_of_upsampler",
    "shift_layer",
    "start_small",
]


class MeanShift(nn.Module):
    """Converts RGB in [0, 1] to a network's range by `(x - mean) * img_range`, and back with `inverse`.

    The mean is a non-persistent buffer: it follows `.to()` and is absent from checkpoints.

    Args:
        rgb_mean: one value per channel, in [0, 1].
        img_range: the value that 1 is mapped to, usually 255.
        channels: numbers of input and output channels.

    Raises:
        OptionsError: If `rgb_mean` does not have one value per channel.
    """

    mean: Tensor

    def __init__(self, rgb_mean: Sequence[float], img_range: float, channels: tuple[int, int]) -> None:
        super().__init__()
        if any(count != len(rgb_mean) for count in channels):
            counts = " and ".join(str(count) for count in sorted(set(channels)))
            raise OptionsError(
                f"rgb_mean has {len(rgb_mean)} values for {counts} channels: give one per channel"
            )
        self.img_range = img_range
        self.register_buffer("mean", torch.tensor(tuple(rgb_mean)).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.img_range

    def inverse(self, x: Tensor) -> Tensor:
        """Converts from the network's range to RGB in [0, 1]."""
        return x / self.img_range + self.mean


def shift_layer(offsets: Sequence[float]) -> nn.Conv2d:
    """Returns a trainable 1x1 convolution that is initialized to add `offsets`, one per channel."""
    layer = nn.Conv2d(len(offsets), len(offsets), 1)
    nn.init.dirac_(layer.weight)
    with torch.no_grad():
        layer.get_parameter("bias").copy_(torch.tensor(tuple(offsets)))
    return layer


class ResidualBlock(nn.Module):
    """conv - ReLU - conv, multiplied by `res_scale` before it is added to the input. No batch norm."""

    def __init__(self, num_feat: int, res_scale: float = 1.0, kernel_size: int = 3) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(num_feat, num_feat, kernel_size, padding=kernel_size // 2)
        self.conv2 = nn.Conv2d(num_feat, num_feat, kernel_size, padding=kernel_size // 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(self.relu(self.conv1(x)))
        if self.res_scale != 1:
            residual = residual * self.res_scale
        # Autograd does not need the last convolution's output: adding in place makes training 4 % faster.
        return residual.add_(x) if self.training else x + residual


class Upsampler(nn.Sequential):
    """Sub-pixel upsampling without activation: stages of [conv3x3 C -> C*r*r, pixel shuffle r].

    A scale of 2^n takes n stages of 2, a scale of 3 takes one of 3. Keys of the convs: 0, 2, 4, ...

    Raises:
        OptionsError: If the scale is neither a power of two nor 3.
    """

    def __init__(self, upscale: int, num_feat: int) -> None:
        if upscale == 3:
            stages = [3]
        elif upscale >= 1 and upscale & (upscale - 1) == 0:
            stages = [2] * (upscale.bit_length() - 1)
        else:
            raise OptionsError(f"scale {upscale} is not supported: use 3 or a power of two")
        layers: list[nn.Module] = []
        for stage in stages:
            layers += [nn.Conv2d(num_feat, num_feat * stage * stage, 3, padding=1), nn.PixelShuffle(stage)]
        super().__init__(*layers)


@torch.no_grad()
def start_small(network: nn.Module, factor: float = 0.1) -> None:
    """Initializes every convolution: Kaiming-normal weights times `factor`, zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            module.weight.mul_(factor)
            if module.bias is not None:
                module.bias.zero_()


def scale_of_upsampler(state_dict: StateDict, num_feat: int, prefix: str = "upsample") -> int:
    """Returns the scale that an `Upsampler` under `prefix` was built for, from its tensors."""
    stages = [t for key, t in state_dict.items() if key.startswith(f"{prefix}.") and key.endswith(".weight")]
    scale = 1
    for weight in stages:
        scale *= round((weight.shape[0] / num_feat) ** 0.5)
    return scale


def has_convolutions(state_dict: StateDict, keys: Iterable[str]) -> bool:
    """Returns True if each key names the weight of a two-dimensional convolution."""
    return all(key in state_dict and state_dict[key].dim() == 4 and state_dict[key].numel() for key in keys)


def count_indices(keys: Iterable[str], prefix: str) -> int:
    """Counts the modules `prefix.0`, `prefix.1`, ... that the keys name."""
    dotted = prefix + "."
    found = {key[len(dotted) :].split(".", 1)[0] for key in keys if key.startswith(dotted)}
    return sum(1 for index in found if index.isdigit())


def ends_of(state_dict: StateDict, *, first: str = "conv_first", last: str = "conv_last") -> dict[str, Any]:
    """Channels and width of an EDSR-like network, from its first and last convolution.

    Args:
        state_dict: the network's keys, its mean layers absorbed.
        first: key of the first convolution.
        last: key of the last convolution.
    """
    num_feat, num_in_ch = state_dict[f"{first}.weight"].shape[:2]
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict[f"{last}.weight"].shape[0],
        "num_feat": num_feat,
    }


def rename_keys(state_dict: StateDict, rules: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Renames each key by the first rule (pattern, replacement) that matches it; other keys are kept."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed = {}
    for key, value in state_dict.items():
        for pattern, replacement in compiled:
            new, changes = pattern.subn(replacement, key)
            if changes:
                break
        else:
            new = key
        renamed[new] = value
    return renamed


NO_MEAN = (0.0, 0.0, 0.0)


def edsr_family_readings(
    state_dict: StateDict, *, official: str, channels: int = 3, img_range: float = 255.0
) -> list[Reading]:
    """Readings of a network that subtracts a mean color as EDSR does.

    BasicSR's layout never has mean layers; the range of the released weights is assumed. The layout of the
    authors' code has them unless the network was trained without a mean: then it works on [0, 1]. Layers that
    subtract nothing are as none.

    Args:
        state_dict: the tensors under the file's own keys.
        official: a key that only the authors' layout has.
        channels: of the images; a network of one channel subtracts no mean color.
        img_range: range of the released weights.
    """
    if channels != 3:
        return mean_shift_readings(
            img_range=1.0, rgb_mean=[0.0] * channels, means=([0.0] * channels,), reason="it has no mean color"
        )
    mean_layer = state_dict.get("sub_mean.bias")
    if official in state_dict and (mean_layer is None or not mean_layer.any()):
        layers = (
            "without sub_mean and add_mean" if mean_layer is None else "and its sub_mean subtracts nothing"
        )
        return mean_shift_readings(
            img_range=1.0,
            rgb_mean=NO_MEAN,
            means=(DIV2K_MEAN, NO_MEAN),
            reason=f"the file has the authors' layout {layers}",
        )
    return mean_shift_readings(img_range=img_range, rgb_mean=DIV2K_MEAN, means=(DIV2K_MEAN, NO_MEAN))


def res_scale_readings(
    readings: Iterable[Reading], res_scale: float, *, reason: str | None = None
) -> list[Reading]:
    """The same readings with a residual scale; `reason` replaces theirs, "" for alternatives."""
    return [
        replace(
            reading,
            arguments={**reading.arguments, "res_scale": res_scale},
            reason=reading.reason if reason is None else reason,
            # Weights trained with 0.1 and read with 1 are off by orders of magnitude. Those trained with 1
            # and read with 0.1 restore less, which may look better for models of degraded images.
            margin=reading.margin if reason is None else 0.9,
        )
        for reading in readings
    ]


_MEAN_LAYERS = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")


def absorb_mean_layers(
    state_dict: StateDict, *, first: str = "conv_first", last: str = "conv_last"
) -> StateDict:
    """Replaces the 1x1 convolutions `sub_mean` and `add_mean` of the EDSR family by our `MeanShift`, exactly.

    In several releases these layers stayed trainable and drifted. Layers with nominal values are removed.
    Drift moves into the neighbors: `sub_mean(v) = W v + b` equals `W (v - m)` with `m = -W^-1 b`, so `m`
    becomes the mean and W is folded into the first convolution (zero padding stays zero padding, so the
    border is exact too); `add_mean` is folded into the last convolution, with the difference to `m`. The mean
    and the range in which it is subtracted are stored as the arguments `rgb_mean` and `img_range`; a mean of
    zero shows no range.

    Args:
        state_dict: the network's keys, in our layout except for the mean layers.
        first: key of the convolution after `sub_mean`.
        last: key of the convolution before `add_mean`.

    Raises:
        CheckpointError: If the layers belong to no range, or cannot be inverted.
    """
    if any(key not in state_dict for key in _MEAN_LAYERS):
        return state_dict
    sub_weight, sub_bias, add_weight, add_bias = (state_dict[key].double() for key in _MEAN_LAYERS)
    sub, add = sub_weight.flatten(1), add_weight.flatten(1)
    identity = torch.eye(len(sub), dtype=torch.float64)
    absorbed = {key: value for key, value in state_dict.items() if key not in _MEAN_LAYERS}

    if abs(torch.linalg.det(sub).item()) < 1e-3:
        raise CheckpointError("its sub_mean layer cannot be inverted; this is not a released network")
    subtracted = -torch.linalg.solve(sub, sub_bias)
    is_nothing = bool(subtracted.abs().max() < 1e-6)
    img_range = 1.0 if is_nothing else range_of_mean(subtracted)
    if img_range is None:
        raise CheckpointError(
            f"its sub_mean layer subtracts {[round(v, 2) for v in subtracted.tolist()]}, which is no mean "
            "color in 0..255 or 0..1, nor a multiple of DIV2K's; networks of other ranges cannot be read"
        )
    mean = subtracted / img_range
    nominal = torch.tensor(DIV2K_MEAN, dtype=torch.float64)
    # Rounded to float32, because the network computes with a float32 mean.
    mean = nominal if torch.allclose(mean, nominal, rtol=0, atol=1e-6) else mean.float().double()
    absorbed[argument_key("rgb_mean")] = mean
    if not is_nothing:
        absorbed[argument_key("img_range")] = torch.tensor(img_range)

    if not torch.allclose(sub, identity, rtol=0, atol=1e-7):
        weight = absorbed[f"{first}.weight"]
        absorbed[f"{first}.weight"] = torch.einsum("oihw,ij->ojhw", weight.double(), sub).to(weight.dtype)
    offset = add_bias - mean * img_range
    if not torch.allclose(add, identity, rtol=0, atol=1e-7) or offset.abs().max() > 1e-4:
        weight, bias = absorbed[f"{last}.weight"], absorbed[f"{last}.bias"]
        absorbed[f"{last}.weight"] = torch.einsum("po,oihw->pihw", add, weight.double()).to(weight.dtype)
        absorbed[f"{last}.bias"] = (add @ bias.double() + offset).to(bias.dtype)
    return absorbed
