"""MSRResNet as mmagic trains it: BasicSR's network without activations in the enlargement.

Paper: https://arxiv.org/abs/1609.04802 (Ledig et al., CVPR 2017, for the original SRResNet)
Reference: https://github.com/open-mmlab/mmagic (Apache-2.0)
State-dict keys are mmagic's. Differs from BasicSR's MSRResNet: the stages of the enlargement follow each
other without LeakyReLU, so that its weights give other images there. x4: 1,517,571 parameters.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import ResidualBlock, count_indices, has_convolutions, start_small
from ._luma import supports_one_channel
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "MMagicMSRResNet"]


class PixelShufflePack(nn.Module):
    """A convolution to r * r times the channels, and a pixel shuffle by r."""

    def __init__(self, num_feat: int, factor: int) -> None:
        super().__init__()
        self.upsample_conv = nn.Conv2d(num_feat, num_feat * factor * factor, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.upsample_conv(x))


@supports_one_channel
@records_arguments
class MMagicMSRResNet(nn.Module):
    """Residual blocks at LR size, sub-pixel enlargement, and the bilinearly enlarged input on top.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_block: residual blocks.
        upscale: 2, 3 or 4; x4 enlarges by two stages of 2.

    Raises:
        OptionsError: another scale.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by MMagicMSRResNet: use 2, 3 or 4")
        self.scale = upscale
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.trunk_net = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_block)))
        self.upsample1 = PixelShufflePack(num_feat, 2 if upscale == 4 else upscale)
        if upscale == 4:
            self.upsample2 = PixelShufflePack(num_feat, 2)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1, inplace=True)
        start_small(self)

    def core(self, x: Tensor) -> Tensor:
        features = self.upsample1(self.trunk_net(self.lrelu(self.conv_first(x))))
        if self.scale == 4:
            features = self.upsample2(features)
        residual = self.conv_last(self.lrelu(self.conv_hr(features)))
        return residual + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = (
        *("conv_first.weight", "trunk_net.0.conv1.weight", "upsample1.upsample_conv.weight"),
        *("conv_hr.weight", "conv_last.weight"),
    )
    if not has_convolutions(state_dict, needed):
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    stage = round((state_dict["upsample1.upsample_conv.weight"].shape[0] / num_feat) ** 0.5)
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "trunk_net"),
        "upscale": 4 if "upsample2.upsample_conv.weight" in state_dict else stage,
    }


SPEC = ARCHS.register(
    ArchSpec(
        name="MMagicMSRResNet",
        cls=MMagicMSRResNet,
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        paper="https://arxiv.org/abs/1609.04802",
        reference="https://github.com/open-mmlab/mmagic",
        license="Apache-2.0",
        scales=(2, 3, 4),
        presets={
            **{f"mmagic_msrresnet_x{s}": {"num_feat": 64, "num_block": 16, "upscale": s} for s in (2, 3, 4)},
            "mmagic_msrresnet_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: 2 * args["num_block"] + 3,
        infer=infer,
    )
)
