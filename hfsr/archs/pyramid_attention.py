"""Pyramid Attention Networks for Image Restoration, Mei et al., 2020: PANet.

Paper: https://arxiv.org/abs/2004.13824
Reference: https://github.com/SHI-Labs/Pyramid-Attention-Networks (MIT)
For denoising, demosaicing and JPEG artifacts; not the Path Aggregation Network. `pa_edsr` has its PA-EDSR.
Differs from the reference: the mean, which was never applied, is left out; parameters shared by blocks have
one owner; attention runs in blocks. Parameters: 5,957,255, on luma 5,954,949; the published counts are 24
higher: they include the frozen mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._attention import drop_floor
from ._layers import rename_keys
from ._luma import luma, with_luma
from ._pyramid import (
    SYSTEM,
    PyramidAttention,
    blocks_before_attention,
    check_trunk,
    infer_trunk,
    trunk_rules,
)
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "PyramidAttentionNet"]


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
    """Residual blocks with pyramid attention in the middle, at the size of the image.

    One scalar slope is shared by the PReLUs of all blocks.

    Args:
        num_in_ch: 3 for RGB; 1 for luma (JPEG artifacts), which keeps the chroma.
        num_feat: width.
        num_block: residual blocks, half of them before the attention.
        reduction: the attention compares num_feat // reduction channels.

    Raises:
        OptionsError: If the channels are not supported, the number of blocks is odd, or the reduction leaves
            no channel.
    """

    scale = 1

    def __init__(
        self, *, num_in_ch: int = 3, num_feat: int = 64, num_block: int = 80, reduction: int = 2
    ) -> None:
        super().__init__()
        if num_in_ch not in (1, 3):
            raise OptionsError(f"num_in_ch {num_in_ch} is not supported: use 3 for RGB or 1 for luma")
        check_trunk(num_feat, num_block, reduction)
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


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    return infer_trunk(state_dict) if "act.weight" in state_dict else None


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (head.0, body.i.body.0|1|2, body.M.conv_*, body.N, tail.0).

    Every block of that layout stores the one slope. Its mean layers, which are never applied, are removed.
    """
    middle = blocks_before_attention(state_dict)
    slopes = [key for key in state_dict if key.startswith("body.") and key.endswith(".body.1.weight")]
    if not middle or not slopes or "tail.0.weight" not in state_dict:
        return state_dict
    unique = dict(state_dict)
    unique["act.weight"] = unique.pop(slopes[0])
    for key in slopes[1:]:
        if torch.equal(unique[key], unique["act.weight"]):
            del unique[key]
    used = {key: t for key, t in drop_floor(unique).items() if not key.startswith(("sub_mean.", "add_mean."))}
    return rename_keys(used, [*trunk_rules(middle), (r"^tail\.0\.", "conv_last.")])


_SIZE = {"num_feat": 64, "num_block": 80, "reduction": 2}

SPEC = ARCHS.register(
    ArchSpec(
        name="PyramidAttentionNet",
        cls=PyramidAttentionNet,
        task="denoising",
        keeps_flat_images=False,  # the input of demosaicing is a sensor's mosaic
        scales=(1,),
        presets={
            "panet_denoise": {"num_in_ch": 3, **_SIZE},
            "panet_demosaic": {"num_in_ch": 3, **_SIZE},
            "panet_jpeg": {"num_in_ch": 1, **_SIZE},
            "panet_tiny": {"num_feat": 8, "num_block": 2, "reduction": 2},
        },
        radius=lambda args: 2 * args["num_block"] + 3,
        infer=infer,
        rename=rename,
        notes=("the image in [0, 1] without a mean, as released; one channel means luma (JPEG artifacts)",),
        **SYSTEM,
    )
)
