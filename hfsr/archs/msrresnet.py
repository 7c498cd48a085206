"""MSRResNet: the generator of SRGAN without batch norm, as BasicSR and ESRGAN use it.

Paper: https://arxiv.org/abs/1609.04802 (Ledig et al., CVPR 2017, for the original SRResNet)
Reference: https://github.com/XPixelGroup/BasicSR (Apache-2.0)
Constructor arguments, defaults and state-dict keys are BasicSR's; `upsample_activation` is ours, for mmagic's
weights (https://github.com/open-mmlab/mmagic, Apache-2.0). Differs from the paper: no batch norm, 3x3
everywhere, LeakyReLU 0.1 for PReLU, no skip around the body but the bilinearly upscaled input.
x4: 1,517,571 parameters.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import ResidualBlock, count_indices, has_convolutions, rename_keys, start_small
from ._luma import supports_one_channel
from ._readings import Evidence, Reading
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["SPEC", "MSRResNet"]


@supports_one_channel
@records_arguments
class MSRResNet(nn.Module):
    """Residual blocks at LR size and sub-pixel upsampling, added to the bilinearly upscaled input.

    At scale 1 nothing is upsampled: the network restores, and what it computes is added to its input.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_block: residual blocks.
        upscale: 1, 2, 3 or 4; x4 upsamples in two stages of 2.
        upsample_activation: False for weights of mmagic, whose upsampling stages end without LeakyReLU.

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
        upsample_activation: bool = True,
    ) -> None:
        super().__init__()
        if upscale not in (1, 2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by MSRResNet: use 1, 2, 3 or 4")
        self.scale = upscale
        self.upsample_activation = upsample_activation
        stage = 2 if upscale == 4 else upscale
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_block)))
        if upscale > 1:
            self.upconv1 = nn.Conv2d(num_feat, num_feat * stage * stage, 3, padding=1)
            self.pixel_shuffle = nn.PixelShuffle(stage)
        if upscale == 4:
            self.upconv2 = nn.Conv2d(num_feat, num_feat * stage * stage, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1, inplace=True)
        start_small(self)

    def core(self, x: Tensor) -> Tensor:
        features = self.body(self.lrelu(self.conv_first(x)))
        if self.scale > 1:
            features = self._upsample(self.upconv1(features))
        if self.scale == 4:
            features = self._upsample(self.upconv2(features))
        residual = self.conv_last(self.lrelu(self.conv_hr(features)))
        if self.scale == 1:
            return residual + x
        return residual + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def _upsample(self, features: Tensor) -> Tensor:
        features = self.pixel_shuffle(features)
        return self.lrelu(features) if self.upsample_activation else features

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.conv1.weight", "conv_hr.weight", "conv_last.weight")
    if not has_convolutions(state_dict, needed):
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    if has_convolutions(state_dict, ("upconv1.weight",)):
        upscale = round((state_dict["upconv1.weight"].shape[0] / num_feat) ** 0.5)
    elif {key.partition(".")[0] for key in state_dict} == {"conv_first", "body", "conv_hr", "conv_last"}:
        upscale = 1
    else:  # EnhanceNet, for one, has other layers that enlarge
        return None
    return {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "body"),
        "upscale": 4 if "upconv2.weight" in state_dict else upscale,
    }


_MMAGIC = "trunk_net.0.conv1.weight"
"""A key of mmagic's layout."""
_IN_MMAGIC = {"upsample_activation": False}
_SIZE = {"num_feat": 64, "num_block": 16}


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    if _MMAGIC in state_dict:
        return [Reading(arguments=_IN_MMAGIC, reason="the file has mmagic's layout")]
    return [Reading()]


def rename(state_dict: StateDict) -> StateDict:
    """Renames the layouts of mmagic and of KAIR's MSRResNet1."""
    if _MMAGIC in state_dict and "conv_hr.weight" in state_dict:
        rules = ((r"^trunk_net\.", "body."), (r"^upsample([12])\.upsample_conv\.", r"upconv\1."))
        return rename_keys(state_dict, rules)
    if "recon_trunk.0.conv1.weight" not in state_dict or "HRconv.weight" not in state_dict:
        return state_dict
    return rename_keys(state_dict, ((r"^recon_trunk\.", "body."), (r"^HRconv\.", "conv_hr.")))


SPEC = ARCHS.register(
    ArchSpec(
        name="MSRResNet",
        cls=MSRResNet,
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        paper="https://arxiv.org/abs/1609.04802",
        reference="https://github.com/XPixelGroup/BasicSR",
        license="Apache-2.0",
        scales=(1, 2, 3, 4),
        presets={
            **{f"msrresnet_x{s}": {**_SIZE, "upscale": s} for s in (2, 3, 4)},
            **{f"mmagic_msrresnet_x{s}": {**_SIZE, **_IN_MMAGIC, "upscale": s} for s in (2, 3, 4)},
            "msrresnet_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: 2 * args["num_block"] + 3,
        infer=infer,
        rename=rename,
        readings=readings,
        former_names={"MMagicMSRResNet": _IN_MMAGIC},
    )
)
