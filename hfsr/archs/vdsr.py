"""Accurate Image Super-Resolution Using Very Deep Convolutional Networks, Kim, Lee, Lee, CVPR 2016.

Paper: https://arxiv.org/abs/1511.04587
Reference: https://github.com/twtygqyy/pytorch-vdsr (no license stated); the authors' own code is MATLAB.
State-dict keys are that port's, which has no biases. Differs from the paper: the last convolution starts at a
tenth of He's weights, near the bicubic image. 20 convolutions of width 64: 665,921 parameters, 664,704
without biases.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions, rename_keys
from ._luma import add_to_luma, luma
from ._resize import Bicubic, reach_of_enlarged
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "VDSR"]

_SCALES = (2, 3, 4, 8)


class ConvReLU(nn.Module):
    """3x3 convolution and ReLU."""

    def __init__(self, num_feat: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))


@records_arguments
class VDSR(nn.Module):
    """Adds a residual, predicted by a deep chain of convolutions, to the bicubically upscaled luma.

    One set of weights, trained on several scales at once, serves all of them: `upscale` only sets the factor
    of the bicubic interpolation.

    Args:
        num_feat: width.
        num_block: convolutions between the first and the last (18 in the paper).
        bias: False for the weights of the common PyTorch port.
        upscale: 2, 3, 4 or 8.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self, *, num_feat: int = 64, num_block: int = 18, bias: bool = True, upscale: int = 4
    ) -> None:
        super().__init__()
        if upscale not in _SCALES:
            raise OptionsError(f"scale {upscale} is not supported by VDSR: use 2, 3, 4 or 8")
        self.scale = upscale
        self.enlarge = Bicubic(upscale)
        self.input = nn.Conv2d(1, num_feat, 3, padding=1, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.residual_layer = nn.Sequential(*(ConvReLU(num_feat, bias) for _ in range(num_block)))
        self.output = nn.Conv2d(num_feat, 1, 3, padding=1, bias=bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.output.weight.mul_(0.1)

    def core(self, x: Tensor) -> Tensor:
        enlarged = self.enlarge(x)
        residual = self.output(self.residual_layer(self.relu(self.input(luma(enlarged)))))
        return add_to_luma(enlarged, residual)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("input.weight", "residual_layer.0.conv.weight", "output.weight")
    if not has_convolutions(state_dict, needed) or state_dict["input.weight"].shape[1] != 1:
        return None
    return {
        "num_feat": state_dict["input.weight"].shape[0],
        "num_block": count_indices(state_dict, "residual_layer"),
        "bias": "input.bias" in state_dict,
    }


_EVERY_SECOND = [(rf"^layers\.{i}\.", f"features.{2 * i}.") for i in range(64)]


def rename(state_dict: StateDict) -> StateDict:
    """Renames three other layouts of the chain of convolutions.

    `features.0`, `features.2`, ... in the common port's older layout, `layers.0`, `layers.1`, ... in the
    authors' .mat file, `conv1`, `trunk.0`, ..., `conv2` in another port.
    """
    if has_convolutions(state_dict, ("conv1.0.weight", "trunk.0.conv.weight", "conv2.weight")):
        named = [(r"^conv1\.0\.", "input."), (r"^trunk\.", "residual_layer."), (r"^conv2\.", "output.")]
        return rename_keys(state_dict, named)
    state_dict = rename_keys(state_dict, _EVERY_SECOND) if "layers.0.weight" in state_dict else state_dict
    convolutions = count_indices(state_dict, "features")
    last = 2 * (convolutions - 1)
    ends = ("features.0.weight", f"features.{last}.weight")
    if not has_convolutions(state_dict, ends) or not all(key.startswith("features.") for key in state_dict):
        return state_dict
    rules = [(r"^features\.0\.", "input."), (rf"^features\.{last}\.", "output.")]
    rules += [(rf"^features\.{2 * i + 2}\.", f"residual_layer.{i}.conv.") for i in range(convolutions - 2)]
    return rename_keys(state_dict, rules)


SPEC = ARCHS.register(
    ArchSpec(
        name="VDSR",
        cls=VDSR,
        title="Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
        paper="https://arxiv.org/abs/1511.04587",
        reference="https://github.com/twtygqyy/pytorch-vdsr",
        license="none stated",
        luma=True,
        scales=_SCALES,
        multi_scale=True,
        presets={
            **{f"vdsr_x{s}": {"num_feat": 64, "num_block": 18, "upscale": s} for s in (2, 3, 4)},
            "vdsr_tiny": {"num_feat": 8, "num_block": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: reach_of_enlarged(args["upscale"], args["num_block"] + 2),
        infer=infer,
        rename=rename,
        notes=("one set of weights for x2, x3 and x4: choose with scale",),
    )
)
