"""Pyramid Attention Networks for Image Restoration, Mei et al., 2020.

Paper: https://arxiv.org/abs/2004.13824
Reference: https://github.com/SHI-Labs/Pyramid-Attention-Networks (MIT)
`PyramidAttentionNet` is its PANet (denoising, demosaicing, JPEG artefacts; not the Path Aggregation Network),
`PAEDSR` its PA-EDSR. Differs from the reference: the mean is a buffer, not a frozen convolution, and PANet,
which never applied it, has none; what PANet shares has one owner; attention runs in blocks.
Parameters: PANet 5,957,255, on luma 5,954,949; PA-EDSR x2 40,811,846, x3 43,762,246, x4 43,172,166. The
published counts are 24 higher: they include the frozen mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._attention import drop_floor, embedding, patch_attention
from ._layers import (
    DIV2K_MEAN,
    MeanShift,
    ResidualBlock,
    Upsampler,
    absorb_mean_layers,
    count_indices,
    ends_of,
    has_convolutions,
    rename_keys,
    scale_of_upsampler,
)
from ._luma import luma, with_luma
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["PAEDSR", "PAEDSR_SPEC", "PANET_SPEC", "PyramidAttentionNet"]

SHARPNESS = 10.0
"""What scores are multiplied by before the softmax."""
OVERLAP = 4.0
"""What sums of overlapping patches are divided by; nine overlap, but that is how it was released."""
LEVELS = 5
"""Sizes of the pyramid: the map's own, then a tenth less each."""


class PyramidAttention(nn.Module):
    """Rebuilds every 3x3 patch of a map from the patches that resemble it, at its own and at smaller sizes.

    Args:
        num_feat: channels of the map and of the values.
        reduction: queries and keys have num_feat // reduction channels.
        res_scale: what the map is multiplied by where it is added to the result.
    """

    def __init__(self, num_feat: int, reduction: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.query = embedding(num_feat, num_feat // reduction)
        self.key = embedding(num_feat, num_feat // reduction)
        self.value = embedding(num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        candidates = [(self.key(level), self.value(level)) for level in pyramid(x)]
        rebuilt = patch_attention(self.query(x), candidates, sharpness=SHARPNESS)
        return rebuilt / OVERLAP + x * self.res_scale


def pyramid(x: Tensor) -> Iterator[Tensor]:
    """The map, then bicubically resized to 0.9, 0.8, 0.7 and 0.6 of its size, rounded down to 1 px at least.

    Px are placed by the rounded sizes, as they were in the PyTorch that the released weights were trained in.
    """
    yield x
    for i in range(1, LEVELS):
        size = [max(1, math.floor(side * (1 - i / 10))) for side in x.shape[-2:]]
        yield F.interpolate(x, size, mode="bicubic", align_corners=False)


class PReLUBlock(nn.Module):
    """conv - PReLU - conv, added to the input; the PReLU belongs to the network."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)

    def forward(self, x: Tensor, act: nn.PReLU) -> Tensor:
        return x + self.conv2(act(self.conv1(x)))


@records_arguments
class PyramidAttentionNet(nn.Module):
    """Residual blocks with pyramid attention in their middle, at the size of the picture.

    One slope, a single number, serves the PReLU of all blocks.

    Args:
        num_in_ch: 3 for RGB; 1 for luma (JPEG artefacts): the chroma is then left as it is.
        num_feat: width.
        num_block: residual blocks, half of them before the attention.
        reduction: the attention compares num_feat // reduction channels.

    Raises:
        OptionsError: other channels, an odd number of blocks, or a reduction that leaves no channel.
    """

    scale = 1

    def __init__(
        self, *, num_in_ch: int = 3, num_feat: int = 64, num_block: int = 80, reduction: int = 2
    ) -> None:
        super().__init__()
        if num_in_ch not in (1, 3):
            raise OptionsError(f"num_in_ch {num_in_ch} is not supported: use 3 for RGB or 1 for luma")
        _check_trunk(num_feat, num_block, reduction)
        self.num_in_ch = num_in_ch
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.act = nn.PReLU()
        self.before = nn.ModuleList(PReLUBlock(num_feat) for _ in range(num_block // 2))
        self.attention = PyramidAttention(num_feat, reduction, res_scale=1)
        self.after = nn.ModuleList(PReLUBlock(num_feat) for _ in range(num_block // 2))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_in_ch, 3, padding=1)

    def restore(self, x: Tensor) -> Tensor:
        """Args: x: RGB or luma in [0, 1], (B, num_in_ch, H, W). Returns: the same, restored."""
        deep = shallow = self.conv_first(x)
        for block in self.before:
            deep = block(deep, self.act)
        deep = self.attention(deep)
        for block in self.after:
            deep = block(deep, self.act)
        return self.conv_last(self.conv_after_body(deep) + shallow)

    def core(self, x: Tensor) -> Tensor:
        return self.restore(x) if self.num_in_ch == 3 else with_luma(x, self.restore(luma(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H, W)."""
        return self.core(x)


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
        res_scale: residual scaling of the blocks, and what the attention's own input is multiplied by.
        img_range: range the trunk works in; released weights use 1.
        rgb_mean: mean subtracted before and added after, in [0, 1], one value per channel.

    Raises:
        OptionsError: another scale, an odd number of blocks, a reduction that leaves no channel, or another
            number of mean values.
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
        _check_trunk(num_feat, num_block, reduction)
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


def _check_trunk(num_feat: int, num_block: int, reduction: int) -> None:
    if num_block % 2:
        raise OptionsError(
            f"num_block {num_block} is odd: half of the blocks lie on each side of the attention"
        )
    if not 1 <= reduction <= num_feat:
        raise OptionsError(f"reduction {reduction} is not between 1 and num_feat ({num_feat})")


# Released checkpoints


def infer_panet(state_dict: StateDict) -> dict[str, Any] | None:
    return _infer_trunk(state_dict) if "act.weight" in state_dict else None


def infer_paedsr(state_dict: StateDict) -> dict[str, Any] | None:
    arguments = _infer_trunk(state_dict)
    if arguments is None or "act.weight" in state_dict:
        return None
    upscale = scale_of_upsampler(state_dict, arguments["num_feat"])
    return {**arguments, **ends_of(state_dict), "upscale": upscale}


def _infer_trunk(state_dict: StateDict) -> dict[str, Any] | None:
    query = "attention.query.0.weight"
    needed = (
        "conv_first.weight",
        "before.0.conv1.weight",
        query,
        "conv_after_body.weight",
        "conv_last.weight",
    )
    if not has_convolutions(state_dict, needed):
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    return {
        "num_in_ch": num_in_ch,
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "before") + count_indices(state_dict, "after"),
        "reduction": num_feat // state_dict[query].shape[0],
    }


def rename_panet(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.i.body.0|1|2, body.M.conv_*, body.N, tail.0), in which every
    block has the one slope, and leaves out its mean layers, which are never applied.
    """
    middle = _blocks_before_attention(state_dict)
    slopes = [key for key in state_dict if key.startswith("body.") and key.endswith(".body.1.weight")]
    if not middle or not slopes or "tail.0.weight" not in state_dict:
        return state_dict
    unique = dict(state_dict)
    unique["act.weight"] = unique.pop(slopes[0])
    for key in slopes[1:]:
        if torch.equal(unique[key], unique["act.weight"]):
            del unique[key]
    used = {key: t for key, t in drop_floor(unique).items() if not key.startswith(("sub_mean.", "add_mean."))}
    return rename_keys(used, [*_trunk_rules(middle), (r"^tail\.0\.", "conv_last.")])


def rename_paedsr(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.i.body.0|2, body.M.conv_*, body.N, tail.0|1), in which the
    attention stands a second time as msa, and absorbs its mean layers.
    """
    middle = _blocks_before_attention(state_dict)
    if not middle or "tail.1.weight" not in state_dict:
        return state_dict
    unique = dict(state_dict)
    for key in [key for key in state_dict if key.startswith("msa.")]:
        twin = key.replace("msa.", f"body.{middle}.", 1)
        if torch.equal(unique.setdefault(twin, unique[key]), unique[key]):
            del unique[key]
    rules = [*_trunk_rules(middle), (r"^tail\.0\.", "upsample."), (r"^tail\.1\.", "conv_last.")]
    return absorb_mean_layers(rename_keys(drop_floor(unique), rules), img_range=1.0)


def _blocks_before_attention(state_dict: StateDict) -> int:
    """How many blocks an official trunk has before its attention; 0 where it is no such trunk."""
    blocks = sum(key.startswith("body.") and key.endswith(".body.0.weight") for key in state_dict)
    names = (f"body.{blocks // 2}.conv_assembly.0.weight", "msa.conv_assembly.0.weight")
    return blocks // 2 if any(name in state_dict for name in names) else 0


def _trunk_rules(middle: int) -> list[tuple[str, str]]:
    rules = [
        (r"^head\.0\.", "conv_first."),
        (rf"^body\.{middle}\.conv_match_L_base\.", "attention.query."),
        (rf"^body\.{middle}\.conv_match\.", "attention.key."),
        (rf"^body\.{middle}\.conv_assembly\.", "attention.value."),
        (r"^body\.\d+\.(weight|bias)$", r"conv_after_body.\1"),
    ]
    for i in range(middle):
        for official, ours in ((i, f"before.{i}"), (middle + 1 + i, f"after.{i}")):
            rules.append((rf"^body\.{official}\.body\.0\.", f"{ours}.conv1."))
            rules.append((rf"^body\.{official}\.body\.2\.", f"{ours}.conv2."))
    return rules


_PANET = {"num_feat": 64, "num_block": 80, "reduction": 2}
_PAEDSR = {"num_feat": 256, "num_block": 32, "reduction": 8, "res_scale": 0.1}
_SYSTEM: dict[str, Any] = {
    "title": "Pyramid Attention Networks for Image Restoration",
    "paper": "https://arxiv.org/abs/2004.13824",
    "reference": "https://github.com/SHI-Labs/Pyramid-Attention-Networks",
    "licence": "MIT",
    "bf16": False,  # sharp scores of rounded features pick other patches
    "tiling": "windowed",
    "window": 80,  # the authors cut pictures into tiles of at most 6400 px
}

PANET_SPEC = ARCHS.register(
    ArchSpec(
        name="PyramidAttentionNet",
        cls=PyramidAttentionNet,
        task="denoising",
        scales=(1,),
        presets={
            "panet_denoise": {"num_in_ch": 3, **_PANET},
            "panet_demosaic": {"num_in_ch": 3, **_PANET},
            "panet_jpeg": {"num_in_ch": 1, **_PANET},
            "panet_tiny": {"num_feat": 8, "num_block": 2, "reduction": 2},
        },
        radius=lambda args: 2 * args["num_block"] + 3,
        infer=infer_panet,
        rename=rename_panet,
        notes=("the picture in [0, 1] without a mean, as released; one channel means luma (JPEG artefacts)",),
        **_SYSTEM,
    )
)

PAEDSR_SPEC = ARCHS.register(
    ArchSpec(
        name="PAEDSR",
        cls=PAEDSR,
        scales=(2, 3, 4),
        presets={
            **{f"pa_edsr_x{s}": {**_PAEDSR, "upscale": s} for s in (2, 3, 4)},
            "pa_edsr_tiny": {"num_feat": 16, "num_block": 2, "reduction": 4, "upscale": 2},
        },
        radius=lambda args: 2 * args["num_block"] + 4,
        infer=infer_paedsr,
        rename=rename_paedsr,
        notes=("img_range 1 and res_scale 0.1, as released",),
        **_SYSTEM,
    )
)
