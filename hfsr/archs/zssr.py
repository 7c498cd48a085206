"""Zero-shot super-resolution: "Zero-Shot" Super-Resolution using Deep Internal Learning.

Shocher, Cohen, Irani, CVPR 2018
Paper: https://arxiv.org/abs/1712.06087
Reference: https://github.com/assafshocher/ZSSR (academic, non-commercial); state-dict keys are ours.
The network only; `hfsr zeroshot` trains it on the one image that it upscales. Differs from the
reference: none. 8 convolutions of width 64 without biases: 224,640 parameters.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions
from ._resize import Bicubic, reach_of_enlarged
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "ZSSRNet"]

_SCALES = (2, 3, 4, 8)


@records_arguments
class ZSSRNet(nn.Module):
    """A short chain of convolutions that predicts the residual of a bicubically upscaled image.

    Args:
        num_feat: width.
        num_conv: number of convolutions, including the first and the last.
        upscale: 2, 3, 4 or 8.

    Raises:
        OptionsError: If the scale is not supported, or there are fewer than two convolutions.
    """

    def __init__(self, *, num_feat: int = 64, num_conv: int = 8, upscale: int = 2) -> None:
        super().__init__()
        if upscale not in _SCALES:
            raise OptionsError(f"scale {upscale} is not supported by ZSSRNet: use 2, 3, 4 or 8")
        if num_conv < 2:
            raise OptionsError(f"num_conv {num_conv}: ZSSRNet needs at least 2")
        self.scale = upscale
        self.enlarge = Bicubic(upscale)
        widths = [3, *[num_feat] * (num_conv - 1), 3]
        convs = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in pairwise(widths)]
        for conv in convs:
            nn.init.normal_(conv.weight, std=(0.1 / conv.weight[0].numel()) ** 0.5)
        self.convs = nn.ModuleList(convs)
        self.relu = nn.ReLU(inplace=True)

    def residual(self, enlarged: Tensor) -> Tensor:
        """Residual of an image that has its final size, whatever resized it, (B, 3, H, W)."""
        features = enlarged
        for conv in self.convs[:-1]:
            features = self.relu(conv(features))
        return self.convs[-1](features)

    def refine(self, enlarged: Tensor) -> Tensor:
        """Adds the residual to the image, (B, 3, H, W)."""
        return enlarged + self.residual(enlarged)

    def core(self, x: Tensor) -> Tensor:
        return self.refine(self.enlarge(x))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    number = count_indices(state_dict, "convs")
    if number < 2 or set(state_dict) != {f"convs.{i}.weight" for i in range(number)}:
        return None
    if not has_convolutions(state_dict, state_dict) or state_dict["convs.0.weight"].shape[1] != 3:
        return None
    return {"num_feat": state_dict["convs.0.weight"].shape[0], "num_conv": number}


SPEC = ARCHS.register(
    ArchSpec(
        name="ZSSRNet",
        cls=ZSSRNet,
        title='"Zero-Shot" Super-Resolution using Deep Internal Learning',
        paper="https://arxiv.org/abs/1712.06087",
        reference="https://github.com/assafshocher/ZSSR",
        license="academic, non-commercial",
        scales=_SCALES,
        presets={
            **{f"zssr_x{s}": {"num_feat": 64, "num_conv": 8, "upscale": s} for s in (2, 3, 4)},
            "zssr_tiny": {"num_feat": 8, "num_conv": 3, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: reach_of_enlarged(args["upscale"], args["num_conv"]),
        infer=infer,
        notes=("trained on the one image that it upscales: the tensors do not show the scale",),
    )
)
