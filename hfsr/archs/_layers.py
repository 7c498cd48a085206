"""Pieces that two or more networks really share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ._spec import StateDict

__all__ = ["DIV2K_MEAN", "MeanShift", "Upsampler", "count_indices", "scale_of_upsampler"]

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""RGB mean of the DIV2K training pictures, in [0, 1]."""


class MeanShift(nn.Module):
    """Between RGB in [0, 1] and the range a network was trained in: `(x - mean) * img_range`, and back.

    The mean is a non-persistent buffer: it follows `.to()` and is absent from checkpoints.
    """

    mean: Tensor

    def __init__(self, rgb_mean: Sequence[float], img_range: float) -> None:
        super().__init__()
        self.img_range = img_range
        self.register_buffer("mean", torch.tensor(tuple(rgb_mean)).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.img_range

    def inverse(self, x: Tensor) -> Tensor:
        return x / self.img_range + self.mean


class Upsampler(nn.Sequential):
    """Sub-pixel enlargement without activation: stages of [conv3x3 C -> C*r*r, pixel shuffle r].

    A scale of 2^n takes n stages of 2, a scale of 3 takes one of 3. Keys of the convs: 0, 2, 4, ...

    Raises:
        ValueError: the scale is neither a power of two nor 3.
    """

    def __init__(self, upscale: int, num_feat: int) -> None:
        if upscale == 3:
            stages = [3]
        elif upscale >= 1 and upscale & (upscale - 1) == 0:
            stages = [2] * (upscale.bit_length() - 1)
        else:
            raise ValueError(f"scale {upscale} is not supported: use 3 or a power of two")
        layers: list[nn.Module] = []
        for stage in stages:
            layers += [nn.Conv2d(num_feat, num_feat * stage * stage, 3, padding=1), nn.PixelShuffle(stage)]
        super().__init__(*layers)


def scale_of_upsampler(state_dict: StateDict, num_feat: int, prefix: str = "upsample") -> int:
    """The scale that an `Upsampler` under `prefix` was built for, from its tensors."""
    stages = [t for key, t in state_dict.items() if key.startswith(f"{prefix}.") and key.endswith(".weight")]
    scale = 1
    for weight in stages:
        scale *= round((weight.shape[0] / num_feat) ** 0.5)
    return scale


def count_indices(keys: Iterable[str], prefix: str) -> int:
    """How many consecutive modules `prefix.0`, `prefix.1`, ... the keys name."""
    dotted = prefix + "."
    found = {key[len(dotted) :].split(".", 1)[0] for key in keys if key.startswith(dotted)}
    return sum(1 for index in found if index.isdigit())
