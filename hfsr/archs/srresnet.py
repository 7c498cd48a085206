"""Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, Ledig et al., 2017.

Paper: https://arxiv.org/abs/1609.04802 (figure 4, the generator; its discriminator is in `discriminators`)
Reference: none was released by the authors.
Differs from the paper: none. Two properties that its figure leaves open are arguments (`prelu_per_channel`,
`conv_bias`); there is no tanh at the end, as in the figure. x4: 1,549,462 parameters.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions
from ._luma import supports_one_channel
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "SRResNet"]


class NormedResidualBlock(nn.Module):
    """conv - BN - PReLU - conv - BN, added to the input; no activation after the sum."""

    def __init__(self, num_feat: int, num_slope: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(num_feat)
        self.prelu = nn.PReLU(num_slope)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(num_feat)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class UpsampleStage(nn.Module):
    """conv C -> C*r*r - pixel shuffle r - PReLU."""

    def __init__(self, num_feat: int, factor: int, num_slope: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, num_feat * factor * factor, 3, padding=1, bias=bias)
        self.shuffle = nn.PixelShuffle(factor)
        self.prelu = nn.PReLU(num_slope)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.shuffle(self.conv(x)))


@supports_one_channel
@records_arguments
class SRResNet(nn.Module):
    """Residual blocks with batch norm inside a long skip at LR size, then sub-pixel upsampling.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_block: residual blocks.
        upscale: 2, 3 or 4; x4 upsamples in two stages of 2.
        prelu_per_channel: True if a PReLU has one slope per channel, False for one slope in all.
        conv_bias: True if the convolutions have biases.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
        prelu_per_channel: bool = False,
        conv_bias: bool = True,
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by SRResNet: use 2, 3 or 4")
        self.scale = upscale
        slopes = num_feat if prelu_per_channel else 1
        stages = [2, 2] if upscale == 4 else [upscale]
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 9, padding=4, bias=conv_bias)
        self.prelu_first = nn.PReLU(slopes)
        blocks = (NormedResidualBlock(num_feat, slopes, conv_bias) for _ in range(num_block))
        self.body = nn.Sequential(*blocks)
        self.conv_mid = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=conv_bias)
        self.bn_mid = nn.BatchNorm2d(num_feat)
        self.upsample = nn.Sequential(*(UpsampleStage(num_feat, r, slopes, conv_bias) for r in stages))
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 9, padding=4, bias=conv_bias)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.prelu_first(self.conv_first(x))
        deep = self.bn_mid(self.conv_mid(self.body(shallow))) + shallow
        return (self.conv_last(self.upsample(deep)) + 1) * 0.5  # the paper's HR range is [-1, 1]

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.conv1.weight", "upsample.0.conv.weight", "conv_last.weight")
    if not has_convolutions(state_dict, needed) or "body.0.bn1.weight" not in state_dict:
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    stages = count_indices(state_dict, "upsample")
    factor = round((state_dict["upsample.0.conv.weight"].shape[0] / num_feat) ** 0.5)
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "body"),
        "upscale": factor**stages,
        "prelu_per_channel": state_dict["prelu_first.weight"].numel() > 1,
        "conv_bias": "conv_first.bias" in state_dict,
    }


SPEC = ARCHS.register(
    ArchSpec(
        name="SRResNet",
        cls=SRResNet,
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        paper="https://arxiv.org/abs/1609.04802",
        reference="none: the authors released no code",
        license="none stated",
        scales=(2, 3, 4),
        presets={
            **{f"srresnet_x{s}": {"num_feat": 64, "num_block": 16, "upscale": s} for s in (2, 3, 4)},
            "srresnet_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        tiling="local",  # batch norm uses its running statistics outside training
        # The last convolution reaches 4 HR px, which are 2 LR px, in addition to the upsampling.
        radius=lambda args: 2 * args["num_block"] + 8,
        infer=infer,
    )
)
