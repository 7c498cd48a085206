"""Image Super-Resolution Using Very Deep Residual Channel Attention Networks, Zhang et al., ECCV 2018.

Paper: https://arxiv.org/abs/1807.02758
Reference: https://github.com/yulunzhang/RCAN (no license stated)
Constructor arguments, defaults and state-dict keys are BasicSR's, whose default is 16 blocks per group; the
paper's 20 are the presets. Differs from the reference: the mean is a buffer, not a (trainable) convolution.
10 groups of 20 blocks: 15,444,643 parameters at x2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import (
    DIV2K_MEAN,
    MeanShift,
    Upsampler,
    absorb_mean_layers,
    count_indices,
    edsr_family_readings,
    ends_of,
    has_convolutions,
    rename_keys,
    scale_of_upsampler,
)
from ._luma import supports_one_channel
from ._readings import Evidence, Reading
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["RCAN", "SPEC"]


class ChannelAttention(nn.Module):
    """A gate in (0, 1) for each channel, computed from the mean of every channel."""

    def __init__(self, num_feat: int, squeeze_factor: int) -> None:
        super().__init__()
        squeezed = num_feat // squeeze_factor
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(num_feat, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, C, 1, 1)."""
        return self.attention(x)


class RCAB(nn.Module):
    """Residual channel attention block: conv - ReLU - conv, times channel gates, added to the input."""

    def __init__(self, num_feat: int, squeeze_factor: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.rcab = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            ChannelAttention(num_feat, squeeze_factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        conv1, relu, conv2, attention = self.rcab
        residual = conv2(relu(conv1(x)))
        gates = attention(residual)
        # Feature maps are large and gates small: one pass over the feature maps multiplies and adds.
        return torch.addcmul(x, residual, gates if self.res_scale == 1 else gates * self.res_scale)


class ResidualGroup(nn.Module):
    """Blocks and a convolution, added to the group's input (the short skip connection)."""

    def __init__(self, num_feat: int, num_block: int, squeeze_factor: int, res_scale: float) -> None:
        super().__init__()
        blocks = (RCAB(num_feat, squeeze_factor, res_scale) for _ in range(num_block))
        self.residual_group = nn.Sequential(*blocks)
        self.conv = nn.Conv2d(num_feat, num_feat, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.residual_group(x))


@supports_one_channel
@records_arguments
class RCAN(nn.Module):
    """Residual groups inside a long skip connection, at LR size, then sub-pixel upsampling.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width of the trunk.
        num_group: residual groups.
        num_block: blocks in each group (20 in the paper).
        squeeze_factor: the gate's hidden layer has num_feat // squeeze_factor channels.
        upscale: 1, 2, 3, 4 or 8.
        res_scale: residual scaling of a block.
        img_range: range the trunk works in; released weights use 255.
        rgb_mean: mean subtracted before and added after, in [0, 1], one value per channel.

    Raises:
        OptionsError: If the scale or the number of mean values is not supported, or a gate has no hidden
            channels.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_group: int = 10,
        num_block: int = 16,
        squeeze_factor: int = 16,
        upscale: int = 4,
        res_scale: float = 1.0,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        if not 1 <= squeeze_factor <= num_feat:
            raise OptionsError(f"squeeze_factor {squeeze_factor} is not between 1 and num_feat ({num_feat})")
        self.scale = upscale
        self.shift = MeanShift(rgb_mean, img_range, (num_in_ch, num_out_ch))
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        groups = (ResidualGroup(num_feat, num_block, squeeze_factor, res_scale) for _ in range(num_group))
        self.body = nn.Sequential(*groups)
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upsample = Upsampler(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(self.shift(x))
        deep = self.conv_after_body(self.body(shallow)) + shallow
        return self.shift.inverse(self.conv_last(self.upsample(deep)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    gate = "body.0.residual_group.0.rcab.3.attention.1.weight"
    if not has_convolutions(state_dict, ("conv_first.weight", gate, "conv_last.weight")):
        return None
    ends = ends_of(state_dict)
    return {
        **ends,
        "num_group": count_indices(state_dict, "body"),
        "num_block": count_indices(state_dict, "body.0.residual_group"),
        "squeeze_factor": ends["num_feat"] // state_dict[gate].shape[0],
        "upscale": scale_of_upsampler(state_dict, ends["num_feat"]),
    }


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return edsr_family_readings(state_dict, official="head.0.weight", channels=arguments["num_in_ch"])


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.g.body.b.body.i, tail.0|1) and absorbs its mean layers."""
    if "head.0.weight" not in state_dict or "body.0.body.0.body.0.weight" not in state_dict:
        return state_dict
    block = r"body.\1.residual_group.\2.rcab"
    rules = (
        (r"^head\.0\.", "conv_first."),
        (r"^body\.(\d+)\.body\.(\d+)\.body\.(0|2)\.", rf"{block}.\3."),
        # The pool is inside our Sequential, so the indices of the gate's convolutions are one higher.
        (r"^body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0\.", rf"{block}.3.attention.1."),
        (r"^body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2\.", rf"{block}.3.attention.3."),
        (r"^body\.(\d+)\.body\.\d+\.(weight|bias)$", r"body.\1.conv.\2"),
        (r"^body\.\d+\.(weight|bias)$", r"conv_after_body.\1"),
        (r"^tail\.0\.", "upsample."),
        (r"^tail\.1\.", "conv_last."),
    )
    return absorb_mean_layers(rename_keys(state_dict, rules))


SPEC = ARCHS.register(
    ArchSpec(
        name="RCAN",
        cls=RCAN,
        title="Image Super-Resolution Using Very Deep Residual Channel Attention Networks",
        paper="https://arxiv.org/abs/1807.02758",
        reference="https://github.com/yulunzhang/RCAN",
        license="none stated",
        scales=(1, 2, 3, 4, 8),
        presets={
            **{f"rcan_x{s}": {"num_group": 10, "num_block": 20, "upscale": s} for s in (2, 3, 4, 8)},
            "rcan_tiny": {"num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4, "upscale": 2},
        },
        fp16=False,  # the trunk works on 0..255
        tiling="pooled",
        radius=lambda args: (
            args["num_group"] * (2 * args["num_block"] + 1) + (3 if args["upscale"] == 1 else 4)
        ),
        infer=infer,
        rename=rename,
        readings=readings,
        notes=("res_scale 1, as released",),
    )
)
