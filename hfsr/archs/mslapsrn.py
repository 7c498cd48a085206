"""Fast and Accurate Image Super-Resolution with Deep Laplacian Pyramid Networks, Lai et al., TPAMI 2018.

Paper: https://arxiv.org/abs/1710.01992
Reference: https://github.com/phoenix104104/LapSRN (MatConvNet, no license stated); state-dict keys are ours.
LapSRN with its parameters shared among levels, scales and recursions. Differs from the reference: none.
222,801 parameters.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions
from ._luma import luma, with_luma
from ._readings import Evidence, Reading
from ._resize import Bicubic
from ._spec import ArchSpec, Arguments, StateDict, records_arguments
from .lapsrn import (
    AUTHORS_LAYERS,
    AUTHORS_TENSORS,
    LEVELS,
    FeatureUpsampling,
    authors_parts,
    image_upsampling,
    initialize,
    radius_of,
    scales_of_levels,
)

__all__ = ["SPEC", "MSLapSRN"]


@records_arguments
class MSLapSRN(nn.Module):
    """LapSRN with one set of weights for all levels and all scales, and recursive blocks (MS-LapSRN, D5R8).

    Args:
        num_feat: width.
        num_conv: convolutions of a block (D).
        num_recursion: applications of the block in a level (R); the level's input is added each time.
        upscale: 2, 4 or 8, or 3, which is x4 reduced.

    Raises:
        OptionsError: If the scale is not supported.
    """

    recursions: Tensor

    def __init__(
        self, *, num_feat: int = 64, num_conv: int = 5, num_recursion: int = 8, upscale: int = 4
    ) -> None:
        super().__init__()
        if upscale not in LEVELS:
            raise OptionsError(f"scale {upscale} is not supported by MSLapSRN: use 2, 3, 4 or 8")
        self.scale = upscale
        self.num_recursion = num_recursion
        self.conv_first = nn.Conv2d(1, num_feat, 3, padding=1)
        block: list[nn.Module] = []
        for _ in range(num_conv):
            block += [nn.LeakyReLU(0.2), nn.Conv2d(num_feat, num_feat, 3, padding=1)]
        self.block = nn.Sequential(*block)
        self.lrelu = nn.LeakyReLU(0.2)
        self.up_features = FeatureUpsampling(num_feat, 3, bias=True)
        self.residual = nn.Conv2d(num_feat, 1, 3, padding=1)
        self.up_image = image_upsampling()
        self.reduce = Bicubic(3, 4) if upscale == 3 else nn.Identity()
        self.enlarge = nn.ModuleList(Bicubic(scale) for scale in scales_of_levels(upscale))  # for the chroma
        # No weight shows it; `rename` reads it from the layer names of the authors' files.
        self.register_buffer("recursions", torch.tensor(num_recursion), persistent=False)
        initialize(self, self.conv_first)

    def lumas(self, x: Tensor) -> list[Tensor]:
        """Luma of the image at every level."""
        image = luma(x)
        features = self.conv_first(image)
        images = []
        for _level in self.enlarge:
            entry = features
            for _ in range(self.num_recursion):
                features = self.block(features) + entry
            features = self.up_features(self.lrelu(features))
            image = self.up_image(image) + self.residual(features)
            images.append(image)
        return [*images[:-1], self.reduce(image)]

    def core(self, x: Tensor) -> Tensor:
        return with_luma(self.enlarge[-1](x), self.lumas(x)[-1])

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Images at every level, from x2 to `upscale`; the last is the result of `forward`."""
        return [with_luma(up(x), y) for up, y in zip(self.enlarge, self.lumas(x), strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "block.1.weight", "up_features.conv.weight", "up_image.weight")
    if not has_convolutions(state_dict, needed):
        return None
    arguments: dict[str, Any] = {
        "num_feat": state_dict["conv_first.weight"].shape[0],
        "num_conv": count_indices(state_dict, "block"),
    }
    if "recursions" in state_dict:
        arguments["num_recursion"] = int(state_dict["recursions"])
    return arguments


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    # D5R8 was released; the paper also trains D5R5 and D5R2.
    return [
        Reading(arguments={"num_recursion": 8}, reason="as in the released weights"),
        *(Reading(arguments={"num_recursion": count}) for count in (5, 2)),
    ]


def rename(state_dict: StateDict) -> StateDict:
    """Renames the authors' layout; layers are named by scale, level and recursion, and share parameters."""
    theirs = authors_parts(state_dict)
    if not theirs or any(part["level"] for part in theirs.values()):
        return state_dict
    renamed = {key: tensor for key, tensor in state_dict.items() if key not in theirs}
    for key, part in theirs.items():
        layer = f"block.{2 * int(part['conv']) - 1}" if part["conv"] else AUTHORS_LAYERS[part["layer"]]
        renamed[f"{layer}.{AUTHORS_TENSORS[part['tensor']]}"] = state_dict[key]
    recursions = [int(match[1]) for key in theirs if (match := re.search(r"_R(\d+)_conv", key))]
    if recursions:
        renamed["recursions"] = torch.tensor(max(recursions))
    return renamed


SPEC = ARCHS.register(
    ArchSpec(
        name="MSLapSRN",
        cls=MSLapSRN,
        title="Fast and Accurate Image Super-Resolution with Deep Laplacian Pyramid Networks",
        paper="https://arxiv.org/abs/1710.01992",
        reference="https://github.com/phoenix104104/LapSRN",
        license="none stated",
        luma=True,
        scales=tuple(LEVELS),
        multi_scale=True,
        presets={
            **{
                f"mslapsrn_d5r{r}_x{s}": {"num_feat": 64, "num_conv": 5, "num_recursion": r, "upscale": s}
                for r in (2, 5, 8)
                for s in LEVELS
            },
            "mslapsrn_tiny": {"num_feat": 8, "num_conv": 2, "num_recursion": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: radius_of(args["upscale"], args["num_conv"] * args["num_recursion"], 3),
        infer=infer,
        readings=readings,
        rename=rename,
        notes=(
            "one set of weights for all scales: choose with scale",
            "8 recursions unless the file has others",
        ),
    )
)
