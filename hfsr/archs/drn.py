"""Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution, Guo et al., CVPR 2020.

Paper: https://arxiv.org/abs/2003.07018
Reference: https://github.com/guoyongcs/DRN (MIT)
State-dict keys are the reference's; its mean layers are trained with the rest, there and here. Differs from
it: takes and returns [0, 1], and works on 0..255 internally; `forward` returns the largest image, `pyramid`
all of them. DRN-S x4: 4,804,065 parameters, each of its two dual networks 864.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import DIV2K_MEAN, Upsampler, count_indices, has_convolutions, rename_keys, shift_layer
from ._readings import Evidence, Reading, range_argument, range_readings
from ._resize import reach_of_enlarged
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["DRN", "DUAL_SPEC", "SPEC", "DRNDual"]

COLORS = 3


class DownBlock(nn.Module):
    """Halves a feature map: a 3x3 convolution of stride 2, LeakyReLU, a 3x3 convolution; no biases."""

    def __init__(self, num_in_ch: int, num_feat: int, num_out_ch: int) -> None:
        super().__init__()
        self.dual_module = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(num_in_ch, num_feat, 3, stride=2, padding=1, bias=False),
                nn.LeakyReLU(0.2, inplace=True),
            ),
            nn.Conv2d(num_feat, num_out_ch, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, num_out_ch, ceil(H/2), ceil(W/2))."""
        return self.dual_module(x)


class ChannelAttention(nn.Module):
    """Multiplies each channel by a gate in (0, 1) computed from the mean of every channel."""

    def __init__(self, num_feat: int, squeeze_factor: int) -> None:
        super().__init__()
        squeezed = num_feat // squeeze_factor
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(
            nn.Conv2d(num_feat, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(self.pool(x))


class RCAB(nn.Module):
    """Residual channel attention block: conv - ReLU - conv - channel attention, added to the input."""

    def __init__(self, num_feat: int, squeeze_factor: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            ChannelAttention(num_feat, squeeze_factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@records_arguments
class DRN(nn.Module):
    """A U-net at HR size: the upscaled image is reduced to LR size and upsampled by RCABs; RGB only.

    Args:
        num_feat: width F at HR size; it doubles with each halving.
        num_block: RCABs at each size.
        squeeze_factor: ratio of a feature map's channels to those of a gate's hidden layer.
        upscale: 2, 4 or 8; the paper has 4 and 8.
        img_range: range the network works in; released weights use 255.

    Raises:
        OptionsError: If the scale is not supported, or a gate has no hidden channels.
    """

    def __init__(
        self,
        *,
        num_feat: int = 16,
        num_block: int = 30,
        squeeze_factor: int = 16,
        upscale: int = 4,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        levels = levels_of(upscale)
        narrowest = num_feat * min(upscale, 4)
        if not 1 <= squeeze_factor <= narrowest:
            raise OptionsError(f"squeeze_factor {squeeze_factor} is not between 1 and {narrowest}")
        self.scale = upscale
        self.img_range = img_range
        self.sub_mean = shift_layer([-img_range * mean for mean in DIV2K_MEAN])
        self.head = nn.Conv2d(COLORS, num_feat, 3, padding=1)
        widths = [num_feat * 2**level for level in range(levels + 1)]  # from HR size to LR size
        self.down = nn.ModuleList(DownBlock(width, width, 2 * width) for width in widths[:-1])
        self.up_blocks = nn.ModuleList()
        self.tail = nn.ModuleList([nn.Conv2d(widths[-1], COLORS, 3, padding=1)])
        width = widths[-1]
        for half in reversed(widths[:-1]):
            self.up_blocks.append(
                nn.Sequential(
                    *(RCAB(width, squeeze_factor) for _ in range(num_block)),
                    Upsampler(2, width),
                    nn.Conv2d(width, half, 1),
                )
            )
            width = 2 * half  # the skip connection concatenates a feature map of the same width
            self.tail.append(nn.Conv2d(width, COLORS, 3, padding=1))
        self.add_mean = shift_layer([img_range * mean for mean in DIV2K_MEAN])

    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps at scales 1, 2, ..., `scale` from which the images are made."""
        enlarged = F.interpolate(
            x * self.img_range, scale_factor=self.scale, mode="bicubic", align_corners=False
        )
        features = self.head(self.sub_mean(enlarged))
        passed = []
        for down in self.down:
            passed.append(features)
            features = down(features)
        scales = [features]
        for up, skip in zip(self.up_blocks, reversed(passed), strict=True):
            features = torch.cat([up(features), skip], 1)
            scales.append(features)
        return scales

    def image(self, level: int, features: Tensor) -> Tensor:
        """Reconstructs the image at scale 2**level from the feature map of that scale."""
        return self.add_mean(self.tail[level](features)) / self.img_range

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Images at scales 1, 2, ..., `scale`, smallest first, as the multi-scale losses compare them."""
        return [self.image(level, features) for level, features in enumerate(self.features(x))]

    def core(self, x: Tensor) -> Tensor:
        return self.image(len(self.down), self.features(x)[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


@records_arguments
class DRNDual(nn.Module):
    """Dual networks of one DRN: each learns the reduction of the image at one scale to the scale before.

    They have no biases, so they work in any range.

    Args:
        num_feat: width F of each, the same as in the DRN.
        upscale: scale of the DRN; there is one network for each factor of 2 in it.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(self, *, num_feat: int = 16, upscale: int = 2) -> None:
        super().__init__()
        self.nets = nn.ModuleList(DownBlock(COLORS, num_feat, COLORS) for _ in range(levels_of(upscale)))

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Halves images.

        Args:
            pyramid: RGB at scales 2, 4, ..., `upscale`, (B, 3, h, w) each, smallest first; earlier entries,
                as in `DRN.pyramid`, are ignored.

        Returns:
            The predicted reductions: images at scales 1, 2, ..., `upscale / 2`.
        """
        larger = pyramid[len(pyramid) - len(self.nets) :]
        return [net(image) for net, image in zip(self.nets, larger, strict=True)]


def levels_of(upscale: int) -> int:
    """Returns log2 of the scale. Raises OptionsError if the scale is not 2, 4 or 8."""
    if upscale not in (2, 4, 8):
        raise OptionsError(f"scale {upscale} is not supported by DRN: use 2, 4 or 8")
    return upscale.bit_length() - 1


def radius_of(upscale: int, num_block: int) -> int:
    """Receptive field in LR px, computed backward: up path, down path, then the bicubic interpolation."""
    reach = 1  # of the last convolution, in px of the current feature map
    for _ in range(levels_of(upscale)):
        reach = -(-reach // 2) + 1 + 2 * num_block
    for _ in range(levels_of(upscale)):
        reach = 2 * (reach + 1) + 1
    return reach_of_enlarged(upscale, reach + 1)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    gate = "up_blocks.0.0.body.3.conv_du.0.weight"
    needed = ("sub_mean.weight", "head.weight", "down.0.dual_module.0.0.weight", gate, "tail.0.weight")
    if not has_convolutions(state_dict, needed):
        return None
    return {
        "num_feat": state_dict["head.weight"].shape[0],
        "num_block": count_indices(state_dict, "up_blocks.0") - 2,
        "squeeze_factor": state_dict[gate].shape[1] // state_dict[gate].shape[0],
        "upscale": 2 ** count_indices(state_dict, "down"),
        **range_argument(state_dict),
    }


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return range_readings(255.0)


def infer_dual(state_dict: StateDict) -> dict[str, Any] | None:
    if not has_convolutions(state_dict, ("nets.0.dual_module.0.0.weight", "nets.0.dual_module.1.weight")):
        return None
    num_feat = state_dict["nets.0.dual_module.0.0.weight"].shape[0]
    return {"num_feat": num_feat, "upscale": 2 ** count_indices(state_dict, "nets")}


def rename_dual(state_dict: StateDict) -> StateDict:
    """Renames the official layouts: one dual network, or a list of them, whose keys begin with its index."""
    rules = ((r"^dual_module\.", "nets.0.dual_module."), (r"^(\d+)\.dual_module\.", r"nets.\1.dual_module."))
    return rename_keys(state_dict, rules)


_SIZES = {
    "drn_s_x4": {"num_feat": 16, "num_block": 30, "upscale": 4},
    "drn_s_x8": {"num_feat": 8, "num_block": 30, "upscale": 8},
    "drn_l_x4": {"num_feat": 20, "num_block": 40, "upscale": 4},
    "drn_l_x8": {"num_feat": 10, "num_block": 36, "upscale": 8},
}

SPEC = ARCHS.register(
    ArchSpec(
        name="DRN",
        cls=DRN,
        title="Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution",
        paper="https://arxiv.org/abs/2003.07018",
        reference="https://github.com/guoyongcs/DRN",
        license="MIT",
        scales=(2, 4, 8),
        presets={
            **_SIZES,
            "drn_tiny": {"num_feat": 4, "num_block": 1, "squeeze_factor": 4, "upscale": 4},
        },
        fp16=False,  # it works on 0..255
        tiling="pooled",
        radius=lambda args: radius_of(args["upscale"], args["num_block"]),
        infer=infer,
        readings=readings,
        notes=("the mean layers are kept unchanged: they were trained",),
    )
)

DUAL_SPEC = ARCHS.register(
    ArchSpec(
        name="DRNDual",
        cls=DRNDual,
        role="generator",
        task="degradation",
        title="Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution",
        paper="https://arxiv.org/abs/2003.07018",
        reference="https://github.com/guoyongcs/DRN",
        license="MIT",
        scales=(),
        presets={
            **{
                name.replace("drn_", "drn_dual_"): {"num_feat": size["num_feat"], "upscale": size["upscale"]}
                for name, size in _SIZES.items()
            },
            "drn_dual_tiny": {"num_feat": 4, "upscale": 4},
        },
        radius=lambda args: 2 * args["upscale"],
        infer=infer_dual,
        rename=rename_dual,
    )
)
