"""Pyramid attention, and the conversion of released files, shared by PANet and PA-EDSR."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError

from ._attention import embedding, patch_attention
from ._layers import count_indices, has_convolutions
from ._spec import StateDict

__all__ = [
    "SYSTEM",
    "PyramidAttention",
    "blocks_before_attention",
    "check_trunk",
    "infer_trunk",
    "pyramid",
    "trunk_rules",
]

SHARPNESS = 10.0
"""Factor of the scores before the softmax."""
OVERLAP = 4.0
"""Divisor of the sums of overlapping patches; nine overlap, but the released code divides by four."""
LEVELS = 5
"""Sizes of the pyramid: the feature map's own, then a tenth less each."""


class PyramidAttention(nn.Module):
    """Rebuilds every 3x3 patch of a feature map from similar patches at its own and at smaller sizes.

    Args:
        num_feat: channels of the feature map and of the values.
        reduction: queries and keys have num_feat // reduction channels.
        res_scale: factor of the input where it is added to the result.
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
    """Yields a feature map, then its bicubic reductions to 0.9, 0.8, 0.7 and 0.6 of its size.

    Sizes are rounded down, to at least 1 px. Px are placed by the rounded sizes, as in the PyTorch release
    that trained the released weights.
    """
    yield x
    for i in range(1, LEVELS):
        size = [max(1, math.floor(side * (1 - i / 10))) for side in x.shape[-2:]]
        yield F.interpolate(x, size, mode="bicubic", align_corners=False)


def check_trunk(num_feat: int, num_block: int, reduction: int) -> None:
    if num_block % 2:
        raise OptionsError(
            f"num_block {num_block} is odd: half of the blocks lie on each side of the attention"
        )
    if not 1 <= reduction <= num_feat:
        raise OptionsError(f"reduction {reduction} is not between 1 and num_feat ({num_feat})")


def infer_trunk(state_dict: StateDict) -> dict[str, Any] | None:
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


def blocks_before_attention(state_dict: StateDict) -> int:
    """Counts the blocks before the attention of an official trunk; 0 for other trunks."""
    blocks = sum(key.startswith("body.") and key.endswith(".body.0.weight") for key in state_dict)
    names = (f"body.{blocks // 2}.conv_assembly.0.weight", "msa.conv_assembly.0.weight")
    return blocks // 2 if any(name in state_dict for name in names) else 0


def trunk_rules(middle: int) -> list[tuple[str, str]]:
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


SYSTEM: dict[str, Any] = {
    "title": "Pyramid Attention Networks for Image Restoration",
    "paper": "https://arxiv.org/abs/2004.13824",
    "reference": "https://github.com/SHI-Labs/Pyramid-Attention-Networks",
    "license": "MIT",
    # Rounding the features changes which patches win the sharp softmax: 80 blocks with fresh weights are 33
    # dB from float32; 8 blocks after a few hundred steps are 56 to 58. Released weights were not measured.
    "bf16": False,
    "tiling": "windowed",
    "window": 80,  # the authors cut images into tiles of at most 6400 px
}
