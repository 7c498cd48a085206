"""ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, Wang et al., ECCVW 2018.

Paper: https://arxiv.org/abs/1809.00219
Reference: https://github.com/xinntao/ESRGAN, trained with https://github.com/XPixelGroup/BasicSR (Apache-2.0)
Constructor arguments, defaults and state-dict keys are BasicSR's. Differs from it: at scales 1 and 2, sides
that cannot be folded evenly are padded, and the result is cropped. 23 blocks: 16,697,987 parameters at x4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions, rename_keys, start_small
from ._luma import supports_one_channel
from ._padding import pad_to_multiple
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "RRDBNet"]

RESIDUAL_SCALE = 0.2
UNSHUFFLE = {4: 1, 2: 2, 1: 4}
"""Pixel-unshuffle factor of the input by scale, so that the two upsamplings by 2 give each scale."""


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each with the input and all earlier outputs; 0.2 of the last is added to the input.

    Initialized with Kaiming-normal weights times 0.1.
    """

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_grow_ch, 3, padding=1)
        self.conv2 = nn.Conv2d(num_feat + num_grow_ch, num_grow_ch, 3, padding=1)
        self.conv3 = nn.Conv2d(num_feat + 2 * num_grow_ch, num_grow_ch, 3, padding=1)
        self.conv4 = nn.Conv2d(num_feat + 3 * num_grow_ch, num_grow_ch, 3, padding=1)
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow_ch, num_feat, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        start_small(self)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.lrelu(self.conv1(x))
        x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5 = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return torch.add(x, x5, alpha=RESIDUAL_SCALE)


class RRDB(nn.Module):
    """Residual in residual: three dense blocks; 0.2 of the last one's output is added to the input."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL_SCALE)


@supports_one_channel
@records_arguments
class RRDBNet(nn.Module):
    """Dense blocks inside two levels of residuals, then nearest upsampling and convolutions.

    There is no skip from the image to the result, no batch norm and no mean shift. Scales 1 and 2 fold the
    input into channels, 4x4 or 2x2 px each, and then upsample by 4 as well.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        scale: 1, 2 or 4.
        num_feat: width of the trunk.
        num_block: residual-in-residual dense blocks.
        num_grow_ch: channels that a convolution adds inside a dense block.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
    ) -> None:
        super().__init__()
        if scale not in UNSHUFFLE:
            raise OptionsError(f"scale {scale} is not supported by RRDBNet: use 1, 2 or 4")
        self.scale = scale
        self.size_multiple = UNSHUFFLE[scale]
        self.unshuffle = nn.PixelUnshuffle(self.size_multiple) if scale < 4 else nn.Identity()
        self.conv_first = nn.Conv2d(num_in_ch * self.size_multiple**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(self.unshuffle(x))
        features = shallow + self.conv_body(self.body(shallow))
        features = self.lrelu(self.conv_up1(F.interpolate(features, scale_factor=2, mode="nearest")))
        features = self.lrelu(self.conv_up2(F.interpolate(features, scale_factor=2, mode="nearest")))
        return self.conv_last(self.lrelu(self.conv_hr(features)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        height, width = x.shape[-2:]
        y = self.core(pad_to_multiple(x, self.size_multiple))
        return y[..., : height * self.scale, : width * self.scale]


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight")
    if not has_convolutions(state_dict, (*needed, "conv_up1.weight", "conv_up2.weight", "conv_hr.weight")):
        return None
    if "conv_up3.weight" in state_dict or "body.0.rdb1.conv1x1.weight" in state_dict:
        return None  # related networks: an x8 network, ESRGAN+
    num_feat, folded = state_dict["conv_first.weight"].shape[:2]
    num_out_ch = state_dict["conv_last.weight"].shape[0]
    # The released networks have as many output as input channels; more input channels are folded ones.
    scale = {4 * num_out_ch: 2, 16 * num_out_ch: 1}.get(folded, 4)
    return {
        "num_in_ch": folded // UNSHUFFLE[scale] ** 2,
        "num_out_ch": num_out_ch,
        "scale": scale,
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "body"),
        "num_grow_ch": state_dict["body.0.rdb1.conv1.weight"].shape[0],
    }


def rename(state_dict: StateDict) -> StateDict:
    """Renames the two layouts before BasicSR's: that of ESRGAN's release, and the numbered one before it."""
    rules: tuple[tuple[str, str], ...]
    if "RRDB_trunk.0.RDB1.conv1.weight" in state_dict:
        rules = (
            (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
            (r"^trunk_conv\.", "conv_body."),
            (r"^upconv(\d)\.", r"conv_up\1."),
            (r"^HRconv\.", "conv_hr."),
        )
        return rename_keys(state_dict, rules)
    is_plus = any(".conv1x1." in key for key in state_dict)  # ESRGAN+, with more layers in a dense block
    if "model.1.sub.0.RDB1.conv1.0.weight" in state_dict and "model.10.weight" in state_dict and not is_plus:
        rules = (
            (r"^model\.0\.", "conv_first."),
            # KAIR's fifth convolution has no activation, and therefore no index.
            (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.(?:0\.)?(?=weight|bias)", r"body.\1.rdb\2.conv\3."),
            (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
            (r"^model\.3\.", "conv_up1."),
            (r"^model\.6\.", "conv_up2."),
            (r"^model\.8\.", "conv_hr."),
            (r"^model\.10\.", "conv_last."),
        )
        return rename_keys(state_dict, rules)
    return state_dict


SPEC = ARCHS.register(
    ArchSpec(
        name="RRDBNet",
        cls=RRDBNet,
        title="ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
        paper="https://arxiv.org/abs/1809.00219",
        reference="https://github.com/xinntao/ESRGAN",
        license="Apache-2.0",
        scales=(1, 2, 4),
        presets={
            **{f"rrdbnet_x{s}": {"num_feat": 64, "num_block": 23, "scale": s} for s in (1, 2, 4)},
            **{f"rrdbnet_{b}b_x4": {"num_feat": 64, "num_block": b, "scale": 4} for b in (6, 16)},
            "rrdbnet_tiny": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4, "scale": 4},
        },
        size_multiple=lambda args: UNSHUFFLE[args["scale"]],
        tiling="local",
        radius=lambda args: UNSHUFFLE[args["scale"]] * (15 * args["num_block"] + 4),
        infer=infer,
        rename=rename,
    )
)
