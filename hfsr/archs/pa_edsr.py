"""Pyramid Attention Networks for Image Restoration, Mei et al., 2020: PA-EDSR.

Paper: https://arxiv.org/abs/2004.13824
Reference: https://github.com/SHI-Labs/Pyramid-Attention-Networks (MIT)
Differs from the reference: the mean is a buffer, not a frozen convolution; attention runs in blocks.
Parameters: x2 40,811,846, x3 43,762,246, x4 43,172,166; the published counts are 24 higher: they include the
frozen mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._attention import drop_floor
from ._layers import (
    DIV2K_MEAN,
    MeanShift,
    ResidualBlock,
    Upsampler,
    absorb_mean_layers,
    edsr_family_readings,
    ends_of,
    rename_keys,
    scale_of_upsampler,
)
from ._luma import supports_one_channel
from ._pyramid import (
    SYSTEM,
    PyramidAttention,
    blocks_before_attention,
    check_trunk,
    infer_trunk,
    trunk_rules,
)
from ._readings import Evidence, Reading
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["PAEDSR", "SPEC"]


@supports_one_channel
@records_arguments
class PAEDSR(nn.Module):
    """EDSR with pyramid attention in the middle of its trunk.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width of the trunk.
        num_block: residual blocks, half of them before the attention.
        reduction: the attention compares num_feat // reduction channels.
        upscale: 2, 3 or 4.
        res_scale: residual scaling of the blocks and of the attention's own input.
        img_range: range the trunk works in; released weights use 1.
        rgb_mean: mean subtracted before and added after, in [0, 1], one value per channel.

    Raises:
        OptionsError: If the scale or the number of mean values is not supported, the number of blocks is odd,
            or the reduction leaves no channel.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 256,
        num_block: int = 32,
        reduction: int = 8,
        upscale: int = 4,
        res_scale: float = 0.1,
        img_range: float = 1.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by PAEDSR: use 2, 3 or 4")
        check_trunk(num_feat, num_block, reduction)
        self.scale = upscale
        self.shift = MeanShift(rgb_mean, img_range, (num_in_ch, num_out_ch))
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.before = nn.Sequential(*(ResidualBlock(num_feat, res_scale) for _ in range(num_block // 2)))
        self.attention = PyramidAttention(num_feat, reduction, res_scale)
        self.after = nn.Sequential(*(ResidualBlock(num_feat, res_scale) for _ in range(num_block // 2)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upsample = Upsampler(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(self.shift(x))
        deep = self.after(self.attention(self.before(shallow)))
        deep = self.conv_after_body(deep) + shallow
        return self.shift.inverse(self.conv_last(self.upsample(deep)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    arguments = infer_trunk(state_dict)
    if arguments is None or "act.weight" in state_dict:
        return None
    upscale = scale_of_upsampler(state_dict, arguments["num_feat"])
    return {**arguments, **ends_of(state_dict), "upscale": upscale}


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return edsr_family_readings(
        state_dict, official="head.0.weight", channels=arguments["num_in_ch"], img_range=1.0
    )


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.i.body.0|2, body.M.conv_*, body.N, tail.0|1).

    Removes the attention's second copy `msa` and absorbs the mean layers.
    """
    middle = blocks_before_attention(state_dict)
    if not middle or "tail.1.weight" not in state_dict:
        return state_dict
    unique = dict(state_dict)
    for key in [key for key in state_dict if key.startswith("msa.")]:
        twin = key.replace("msa.", f"body.{middle}.", 1)
        if torch.equal(unique.setdefault(twin, unique[key]), unique[key]):
            del unique[key]
    rules = [*trunk_rules(middle), (r"^tail\.0\.", "upsample."), (r"^tail\.1\.", "conv_last.")]
    return absorb_mean_layers(rename_keys(drop_floor(unique), rules))


_SIZE = {"num_feat": 256, "num_block": 32, "reduction": 8, "res_scale": 0.1}

SPEC = ARCHS.register(
    ArchSpec(
        name="PAEDSR",
        cls=PAEDSR,
        scales=(2, 3, 4),
        presets={
            **{f"pa_edsr_x{s}": {**_SIZE, "upscale": s} for s in (2, 3, 4)},
            "pa_edsr_tiny": {"num_feat": 16, "num_block": 2, "reduction": 4, "upscale": 2},
        },
        radius=lambda args: 2 * args["num_block"] + 4,
        infer=infer,
        rename=rename,
        readings=readings,
        notes=("res_scale 0.1, as released",),
        **SYSTEM,
    )
)
