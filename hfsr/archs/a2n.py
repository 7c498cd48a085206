"""Attention in Attention Network for Image Super-Resolution, Chen, Gu, Zhang, 2021.

Paper: https://arxiv.org/abs/2104.09497
Reference: https://github.com/haoyuc/A2N (no license stated)
State-dict keys are the released checkpoints'. Differs from the reference: takes and returns [0, 1], and works
on 0..255 internally. A2N x2: 1,036,443 parameters; A2N-M, with a 1x1 convolution as plain branch: 831,643.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions
from ._luma import supports_one_channel
from ._readings import Evidence, Reading, SavedBy, range_readings
from ._resize import Bilinear
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["A2N", "SPEC"]

TEMPERATURE = 30.0


class AttentionBranch(nn.Module):
    """Convolutions with pixel-wise and channel-wise gates between them."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.k1 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=False)
        self.k2 = nn.Conv2d(num_feat, num_feat, 1)
        self.k3 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=False)
        self.k4 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=False)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.sigmoid(self.k2(self.lrelu(self.k1(x))))
        return self.k4(self.k3(x) * gate)


class AttentionInAttentionBlock(nn.Module):
    """Weights an attention branch against a plain branch, by factors computed from the whole image."""

    def __init__(self, num_feat: int, non_attention_kernel: int, reduction: int = 4) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(num_feat, num_feat, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.ADM = nn.Sequential(
            nn.Linear(num_feat, num_feat // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(num_feat // reduction, 2, bias=False),
        )
        self.attention = AttentionBranch(num_feat)
        self.non_attention = nn.Conv2d(
            num_feat, num_feat, non_attention_kernel, padding=non_attention_kernel // 2, bias=False
        )
        self.conv_last = nn.Conv2d(num_feat, num_feat, 1, bias=False)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        entry = self.lrelu(self.conv_first(x))
        logits = self.ADM(self.pool(entry).flatten(1))  # (B, 2)
        weights = (logits / TEMPERATURE).softmax(1)[:, :, None, None]  # (B, 2, 1, 1)
        mixed = self.attention(entry) * weights[:, 0:1] + self.non_attention(entry) * weights[:, 1:2]
        return x + self.conv_last(self.lrelu(mixed))


class PixelAttention(nn.Module):
    """Gates every pixel of every channel by a 1x1 convolution of the input."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, num_feat, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(self.conv(x))


@supports_one_channel
@records_arguments
class A2N(nn.Module):
    """Attention-in-attention blocks at LR size, nearest upsampling with pixel attention, a bilinear skip.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width of the trunk.
        num_block: attention-in-attention blocks.
        num_feat_up: width after the upsampling.
        non_attention_kernel: side of the plain branch's kernel: 3 for A2N, 1 for A2N-M.
        upscale: 2, 3 or 4; x4 upsamples in two stages of 2.
        img_range: range the network works in; released weights use 255.

    Raises:
        OptionsError: If the scale or the kernel is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 40,
        num_block: int = 16,
        num_feat_up: int = 24,
        non_attention_kernel: int = 3,
        upscale: int = 4,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by A2N: use 2, 3 or 4")
        if non_attention_kernel not in (1, 3):
            raise OptionsError(f"non_attention_kernel {non_attention_kernel}: use 3 for A2N or 1 for A2N-M")
        self.scale = upscale
        self.stage = 2 if upscale == 4 else upscale
        self.img_range = img_range
        self.enlarge = Bilinear(upscale)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.AAB_trunk = nn.Sequential(
            *(AttentionInAttentionBlock(num_feat, non_attention_kernel) for _ in range(num_block))
        )
        self.trunk_conv = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upconv1 = nn.Conv2d(num_feat, num_feat_up, 3, padding=1)
        self.att1 = PixelAttention(num_feat_up)
        self.HRconv1 = nn.Conv2d(num_feat_up, num_feat_up, 3, padding=1)
        if upscale == 4:
            self.upconv2 = nn.Conv2d(num_feat_up, num_feat_up, 3, padding=1)
            self.att2 = PixelAttention(num_feat_up)
            self.HRconv2 = nn.Conv2d(num_feat_up, num_feat_up, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat_up, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def core(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(x * self.img_range)
        features = self.trunk_conv(self.AAB_trunk(shallow)) + shallow
        features = self.upconv1(F.interpolate(features, scale_factor=self.stage, mode="nearest"))
        features = self.lrelu(self.HRconv1(self.lrelu(self.att1(features))))
        if self.scale == 4:
            features = self.upconv2(F.interpolate(features, scale_factor=self.stage, mode="nearest"))
            features = self.lrelu(self.HRconv2(self.lrelu(self.att2(features))))
        return self.enlarge(x) + self.conv_last(features) / self.img_range

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    plain = "AAB_trunk.0.non_attention.weight"
    needed = ("conv_first.weight", plain, "upconv1.weight", "conv_last.weight")
    if not has_convolutions(state_dict, needed):
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    arguments: dict[str, Any] = {
        "num_in_ch": num_in_ch,
        "num_out_ch": state_dict["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "AAB_trunk"),
        "num_feat_up": state_dict["upconv1.weight"].shape[0],
        "non_attention_kernel": state_dict[plain].shape[-1],
    }
    # x2 and x3 have the same tensors: the caller must pass their scale.
    return {**arguments, "upscale": 4} if "upconv2.weight" in state_dict else arguments


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return range_readings(255.0)


_SIZE = {"num_feat": 40, "num_block": 16, "num_feat_up": 24}

SPEC = ARCHS.register(
    ArchSpec(
        name="A2N",
        cls=A2N,
        title="Attention in Attention Network for Image Super-Resolution",
        paper="https://arxiv.org/abs/2104.09497",
        reference="https://github.com/haoyuc/A2N",
        license="none stated",
        scales=(2, 3, 4),
        presets={
            **{f"a2n_x{s}": {**_SIZE, "non_attention_kernel": 3, "upscale": s} for s in (2, 3, 4)},
            **{f"a2n_m_x{s}": {**_SIZE, "non_attention_kernel": 1, "upscale": s} for s in (2, 3, 4)},
            "a2n_tiny": {"num_feat": 16, "num_block": 2, "num_feat_up": 8, "upscale": 2},
        },
        fp16=False,  # pixel attention reaches 46,000 on noise with the released x3 weights
        tiling="pooled",
        # Three 3x3 convolutions after the upsampling: 3 HR px are 2 LR px at x2 and x4, and 1 at x3.
        radius=lambda args: 2 * args["num_block"] + (3 if args["upscale"] == 3 else 4),
        infer=infer,
        readings=readings,
        saved_by={"A2N": SavedBy(library="super-image", arguments=lambda _: {"img_range": 1.0})},
        notes=("the tensors of x2 and x3 have the same shapes: pass the scale",),
    )
)
