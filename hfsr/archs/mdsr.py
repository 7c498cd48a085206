"""Enhanced Deep Residual Networks for Single Image Super-Resolution (MDSR), Lim et al., CVPRW 2017.

Paper: https://arxiv.org/abs/1707.02921 (section 3.3, figure 5)
Reference: https://github.com/sanghyun-son/EDSR-PyTorch (MIT)
One network for x2, x3 and x4: only its two ends depend on the scale. Keys of shared parts are those of our
EDSR. Differs from the reference: the mean is a buffer, not a frozen convolution. 80 blocks: 7,953,987
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import (
    DIV2K_MEAN,
    MeanShift,
    ResidualBlock,
    Upsampler,
    absorb_mean_layers,
    count_indices,
    edsr_family_readings,
    ends_of,
    has_convolutions,
    rename_keys,
    res_scale_readings,
)
from ._luma import supports_one_channel
from ._readings import Evidence, Reading
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["MDSR", "SPEC"]

SCALES = (2, 3, 4)


@supports_one_channel
@records_arguments
class MDSR(nn.Module):
    """A shared residual trunk between two 5x5 residual blocks and an upsampler for each scale.

    Every scale's parts are in the state dict; `upscale` selects those that run.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width of the trunk.
        num_block: shared residual blocks (16 baseline, 80 in the paper).
        upscale: 2, 3 or 4.
        res_scale: residual scaling.
        img_range: range the trunk works in; released weights use 255.
        rgb_mean: mean subtracted before and added after, in [0, 1].

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 80,
        upscale: int = 4,
        res_scale: float = 1.0,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        if upscale not in SCALES:
            raise OptionsError(f"scale {upscale} is not supported by MDSR: use 2, 3 or 4")
        self.scale = upscale
        self.chosen = SCALES.index(upscale)
        self.shift = MeanShift(rgb_mean, img_range, channels=(num_in_ch, num_out_ch))
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.pre_process = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(num_feat, res_scale, kernel_size=5) for _ in range(2)))
            for _ in SCALES
        )
        self.body = nn.Sequential(*(ResidualBlock(num_feat, res_scale) for _ in range(num_block)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upsample = nn.ModuleList(Upsampler(scale, num_feat) for scale in SCALES)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.pre_process[self.chosen](self.conv_first(self.shift(x)))
        deep = self.conv_after_body(self.body(shallow)) + shallow
        return self.shift.inverse(self.conv_last(self.upsample[self.chosen](deep)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "pre_process.2.0.conv1.weight", "body.0.conv1.weight", "conv_last.weight")
    if not has_convolutions(state_dict, needed):
        return None
    return {**ends_of(state_dict), "num_block": count_indices(state_dict, "body")}


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    family = edsr_family_readings(state_dict, official="head.0.weight", channels=arguments["num_in_ch"])
    return [*res_scale_readings(family, 1.0), *res_scale_readings(family, 0.1, reason="")]


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, pre_process.s.b.body.i, body.i.body.i, upsample.s.i, tail.0)."""
    if "head.0.weight" not in state_dict or "pre_process.0.0.body.0.weight" not in state_dict:
        return state_dict
    rules = (
        (r"^head\.0\.", "conv_first."),
        (r"^(pre_process\.\d+\.\d+|body\.\d+)\.body\.0\.", r"\1.conv1."),
        (r"^(pre_process\.\d+\.\d+|body\.\d+)\.body\.2\.", r"\1.conv2."),
        (r"^body\.\d+\.(weight|bias)$", r"conv_after_body.\1"),
        (r"^tail\.0\.", "conv_last."),
    )
    return absorb_mean_layers(rename_keys(state_dict, rules))


SPEC = ARCHS.register(
    ArchSpec(
        name="MDSR",
        cls=MDSR,
        title="Enhanced Deep Residual Networks for Single Image Super-Resolution",
        paper="https://arxiv.org/abs/1707.02921",
        reference="https://github.com/sanghyun-son/EDSR-PyTorch",
        license="MIT",
        scales=SCALES,
        multi_scale=True,
        presets={
            **{f"mdsr_x{s}": {"num_feat": 64, "num_block": 80, "upscale": s} for s in SCALES},
            **{f"mdsr_baseline_x{s}": {"num_feat": 64, "num_block": 16, "upscale": s} for s in SCALES},
            "mdsr_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        fp16=False,  # the trunk works on 0..255
        tiling="local",
        # Two 5x5 blocks reach 8 px; the rest is as in EDSR.
        radius=lambda args: 2 * args["num_block"] + 12,
        infer=infer,
        rename=rename,
        readings=readings,
        notes=("res_scale 1, as released",),
    )
)
