"""EnhanceNet: Single Image Super-Resolution through Automated Texture Synthesis, Sajjadi et al., ICCV 2017.

Paper: https://arxiv.org/abs/1612.07919
Reference: https://github.com/msmsajjadi/EnhanceNet-Code (CC BY-NC-ND 4.0)
Written from a description. Differs from the reference: its bicubic interpolation is TensorFlow 1's
(a = -0.75, corners of px aligned), ours MATLAB's (a = -0.5, centers aligned). x4: 852,867 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import MeanShift, ResidualBlock, count_indices, has_convolutions
from ._luma import supports_one_channel
from ._resize import Bicubic
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "EnhanceNet"]

MEAN = (0.47614917, 0.45001204, 0.40904046)
"""RGB mean of the authors' training images, in [0, 1]."""


class UpsampleStage(nn.Module):
    """Nearest upsampling by 2 - conv - ReLU."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(self.enlarge(x)))


@supports_one_channel
@records_arguments
class EnhanceNet(nn.Module):
    """Residual blocks at LR size, nearest upsampling with convolutions, added to the bicubic image.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_block: residual blocks.
        upscale: 2 or 4; the paper's is 4.
        rgb_mean: mean subtracted from the input of the convolutions, in [0, 1].

    Raises:
        OptionsError: If the scale or the number of mean values is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 10,
        upscale: int = 4,
        rgb_mean: Sequence[float] = MEAN,
    ) -> None:
        super().__init__()
        if upscale not in (2, 4):
            raise OptionsError(f"scale {upscale} is not supported by EnhanceNet: use 2 or 4")
        self.scale = upscale
        self.shift = MeanShift(rgb_mean, 1.0, channels=(num_in_ch, num_in_ch))
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_block)))
        self.upsample = nn.Sequential(*(UpsampleStage(num_feat) for _ in range(upscale.bit_length() - 1)))
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.enlarge = Bicubic(upscale)

    def core(self, x: Tensor) -> Tensor:
        features = self.body(self.relu(self.conv_first(self.shift(x))))
        residual = self.conv_last(self.relu(self.conv_hr(self.upsample(features))))
        return residual + self.enlarge(x)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.conv1.weight", "upsample.0.conv.weight", "conv_hr.weight")
    if not has_convolutions(state_dict, needed) or "upsample.0.prelu.weight" in state_dict:
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "body"),
        "upscale": 2 ** count_indices(state_dict, "upsample"),
    }


SPEC = ARCHS.register(
    ArchSpec(
        name="EnhanceNet",
        cls=EnhanceNet,
        title="EnhanceNet: Single Image Super-Resolution through Automated Texture Synthesis",
        paper="https://arxiv.org/abs/1612.07919",
        reference="https://github.com/msmsajjadi/EnhanceNet-Code",
        license="CC BY-NC-ND 4.0",
        scales=(2, 4),
        presets={
            **{f"enhancenet_x{s}": {"num_feat": 64, "num_block": 10, "upscale": s} for s in (2, 4)},
            "enhancenet_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: 2 * args["num_block"] + 3,
        infer=infer,
    )
)
