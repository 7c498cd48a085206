"""Residual Dense Network for Image Super-Resolution, Zhang et al., CVPR 2018.

Paper: https://arxiv.org/abs/1802.08797
Reference: https://github.com/yulunzhang/RDN (no license stated), in PyTorch in
https://github.com/sanghyun-son/EDSR-PyTorch (MIT) and https://github.com/XuecaiHu/Meta-SR-Pytorch
State-dict keys are those of both ports; the second also has a mean shift, which is `rgb_mean` here. Differs
from them: takes and returns [0, 1], works on 0..255 internally. 16 blocks of 8 layers, x2: 22,123,395
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import (
    DIV2K_MEAN,
    NO_MEAN,
    MeanShift,
    absorb_mean_layers,
    count_indices,
    has_convolutions,
    rename_keys,
)
from ._luma import supports_one_channel
from ._readings import Evidence, Reading, mean_shift_readings
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["RDN", "SPEC", "ResidualDenseTrunk", "infer_trunk"]


class DenseLayer(nn.Module):
    """conv - ReLU, concatenated to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inputs, growth, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(x)), 1)


class ResidualDenseBlock(nn.Module):
    """Dense layers, fused by a 1x1 convolution (LFF) and added to the input."""

    def __init__(self, num_feat: int, num_layer: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(num_feat + i * growth, growth) for i in range(num_layer)))
        self.LFF = nn.Conv2d(num_feat + num_layer * growth, num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.LFF(self.convs(x)) + x


class ResidualDenseTrunk(nn.Module):
    """Trunk shared by RDN and Meta-SR: shallow features, residual dense blocks, and the fusion of all.

    Args:
        num_in_ch: channels of the input.
        num_feat: width between blocks.
        num_block: residual dense blocks.
        num_layer: convolutions in each.
        num_grow_ch: channels that each of them adds.
    """

    def __init__(
        self, *, num_in_ch: int, num_feat: int, num_block: int, num_layer: int, num_grow_ch: int
    ) -> None:
        super().__init__()
        self.SFENet1 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.SFENet2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        blocks = (ResidualDenseBlock(num_feat, num_layer, num_grow_ch) for _ in range(num_block))
        self.RDBs = nn.ModuleList(blocks)
        self.GFF = nn.Sequential(
            nn.Conv2d(num_block * num_feat, num_feat, 1), nn.Conv2d(num_feat, num_feat, 3, padding=1)
        )

    def features(self, x: Tensor) -> Tensor:
        """Args: x: the input in the network's range, (B, C, H, W). Returns: (B, num_feat, H, W)."""
        shallow = self.SFENet1(x)
        current = self.SFENet2(shallow)
        outputs = []
        for block in self.RDBs:
            current = block(current)
            outputs.append(current)
        return self.GFF(torch.cat(outputs, 1)) + shallow


@supports_one_channel
@records_arguments
class RDN(ResidualDenseTrunk):
    """A residual dense trunk at LR size, then sub-pixel upsampling.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width between blocks.
        num_block: residual dense blocks D (16, or 20 in the paper's first form).
        num_layer: convolutions in each, C (8, or 6).
        num_grow_ch: channels that each of them adds, G (64, or 32).
        upscale: 2, 3 or 4; x4 upsamples in two stages of 2.
        img_range: range the trunk works in; released weights use 255.
        rgb_mean: mean subtracted before and added after, in [0, 1]: zeros, or DIV2K's as in Meta-SR's port.

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
        num_layer: int = 8,
        num_grow_ch: int = 64,
        upscale: int = 4,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        super().__init__(
            num_in_ch=num_in_ch,
            num_feat=num_feat,
            num_block=num_block,
            num_layer=num_layer,
            num_grow_ch=num_grow_ch,
        )
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by RDN: use 2, 3 or 4")
        self.scale = upscale
        self.shift = MeanShift(rgb_mean, img_range, channels=(num_in_ch, num_out_ch))
        layers: list[nn.Module] = []
        inputs = num_feat
        for stage in [2, 2] if upscale == 4 else [upscale]:
            layers += [nn.Conv2d(inputs, num_grow_ch * stage * stage, 3, padding=1), nn.PixelShuffle(stage)]
            inputs = num_grow_ch
        self.UPNet = nn.Sequential(*layers, nn.Conv2d(num_grow_ch, num_out_ch, 3, padding=1))

    def core(self, x: Tensor) -> Tensor:
        return self.shift.inverse(self.UPNet(self.features(self.shift(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer_trunk(state_dict: StateDict) -> dict[str, Any] | None:
    """Returns the arguments of a `ResidualDenseTrunk`, or None if there is none."""
    growing = "RDBs.0.convs.0.conv.0.weight"
    if not has_convolutions(state_dict, ("SFENet1.weight", "SFENet2.weight", growing, "GFF.1.weight")):
        return None
    num_feat, num_in_ch = state_dict["SFENet1.weight"].shape[:2]
    return {
        "num_in_ch": num_in_ch,
        "num_feat": num_feat,
        "num_block": count_indices(state_dict, "RDBs"),
        "num_layer": count_indices(state_dict, "RDBs.0.convs"),
        "num_grow_ch": state_dict[growing].shape[0],
    }


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    trunk = infer_trunk(state_dict)
    if trunk is None or not has_convolutions(state_dict, ("UPNet.0.weight",)):
        return None
    two_stages = "UPNet.4.weight" in state_dict
    factor = round((state_dict["UPNet.0.weight"].shape[0] / trunk["num_grow_ch"]) ** 0.5)
    return {
        **trunk,
        "num_out_ch": state_dict[f"UPNet.{4 if two_stages else 2}.weight"].shape[0],
        "upscale": 4 if two_stages else factor,
    }


_RENAMED = "rdbs.0.layers.0.conv.weight"
"""A key of the layout that torchSR and mmagic share."""


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    if _RENAMED in state_dict:
        told = {"img_range": 1.0, "rgb_mean": [0.0] * arguments["num_in_ch"]}
        return [Reading(arguments=told, reason="the file has the layout of torchSR and mmagic")]
    if arguments["num_in_ch"] != 3:
        means = [0.0] * arguments["num_in_ch"]
        return mean_shift_readings(img_range=255.0, rgb_mean=means, means=(means,))
    first, *others = mean_shift_readings(img_range=255.0, rgb_mean=NO_MEAN, means=(NO_MEAN, DIV2K_MEAN))
    # A file without mean layers shows no mean: the constructor's default applies.
    return [Reading(arguments={"img_range": 255.0}, reason=first.reason), *others]


def rename(state_dict: StateDict) -> StateDict:
    """Renames the layout of torchSR and mmagic, and absorbs the mean layers of Meta-SR's port.

    The other keys are hfsr's.
    """
    if _RENAMED in state_dict:
        output = "UPNet.4." if "upscale.2.weight" in state_dict else "UPNet.2."
        rules = (
            (r"^sfe(\d)\.", r"SFENet\1."),
            (r"^rdbs\.(\d+)\.layers\.(\d+)\.conv\.", r"RDBs.\1.convs.\2.conv.0."),
            (r"^rdbs\.(\d+)\.lff\.", r"RDBs.\1.LFF."),
            (r"^gff\.", "GFF."),
            (r"^upscale\.", "UPNet."),
            (r"^output\.", output),
        )
        return rename_keys(state_dict, rules)
    if "UPNet.0.weight" not in state_dict or "sub_mean.weight" not in state_dict:
        return state_dict
    last = "UPNet.4" if "UPNet.4.weight" in state_dict else "UPNet.2"
    return absorb_mean_layers(state_dict, first="SFENet1", last=last)


def _size(upscale: int) -> dict[str, Any]:
    return {"num_feat": 64, "num_block": 16, "num_layer": 8, "num_grow_ch": 64, "upscale": upscale}


SPEC = ARCHS.register(
    ArchSpec(
        name="RDN",
        cls=RDN,
        title="Residual Dense Network for Image Super-Resolution",
        paper="https://arxiv.org/abs/1802.08797",
        reference="https://github.com/sanghyun-son/EDSR-PyTorch",
        license="MIT",
        scales=(2, 3, 4),
        presets={
            **{f"rdn_x{s}": _size(s) for s in (2, 3, 4)},
            "rdn_tiny": {"num_feat": 8, "num_block": 2, "num_layer": 2, "num_grow_ch": 8, "upscale": 2},
        },
        fp16=False,  # the trunk works on 0..255
        tiling="local",
        radius=lambda args: args["num_block"] * args["num_layer"] + 5,
        infer=infer,
        rename=rename,
        readings=readings,
    )
)
