"""Deeply-Recursive Convolutional Network for Image Super-Resolution, Kim, Lee, Lee, CVPR 2016.

Paper: https://arxiv.org/abs/1511.04491
Reference: https://cv.snu.ac.kr/research/DRCN (MATLAB, no license stated); state-dict keys are ours.
Differs from the paper: the last convolution has no ReLU, because a residual takes both signs, and it starts
at a tenth of He's weights, near the bicubic image. Width 256, 16 recursions: 1,775,121 parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._luma import add_to_luma, luma
from ._resize import Bicubic, reach_of_enlarged
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["DRCN", "SPEC"]

_SCALES = (2, 3, 4, 8)


@records_arguments
class DRCN(nn.Module):
    """Applies one convolution repeatedly to the upscaled luma and averages the predictions of all states.

    The average has learned weights, which start equal and, as in the paper, need not add up to 1.

    Args:
        num_feat: width (256 in the paper).
        num_recursion: number of applications of the convolution (16 in the paper).
        upscale: 2, 3, 4 or 8; weights are trained for one scale, though no tensor shows which.

    Raises:
        OptionsError: If the scale is not supported, or there is no recursion.
    """

    def __init__(self, *, num_feat: int = 256, num_recursion: int = 16, upscale: int = 4) -> None:
        super().__init__()
        if upscale not in _SCALES:
            raise OptionsError(f"scale {upscale} is not supported by DRCN: use 2, 3, 4 or 8")
        if num_recursion < 1:
            raise OptionsError(f"num_recursion {num_recursion}: DRCN needs at least 1")
        self.scale = upscale
        self.num_recursion = num_recursion
        self.enlarge = Bicubic(upscale)
        self.embedding = nn.Sequential(
            nn.Conv2d(1, num_feat, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.recursion = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        last = nn.Conv2d(num_feat, 1, 3, padding=1)
        self.reconstruction = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.ReLU(inplace=True), last
        )
        self.weights = nn.Parameter(torch.full((num_recursion,), 1 / num_recursion))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.dirac_(self.recursion.weight)  # each recursion starts as the identity
        with torch.no_grad():
            last.weight.mul_(0.1)

    def residuals(self, y: Tensor) -> list[Tensor]:
        """Residuals of the upscaled luma `y`, (B, 1, H, W), predicted by each recursion."""
        state = self.embedding(y)
        found = []
        for _ in range(self.num_recursion):
            state = self.relu(self.recursion(state))
            found.append(self.reconstruction(state))
        return found

    def average(self, y: Tensor, residuals: list[Tensor]) -> Tensor:
        """Returns the difference between the weighted sum of all predictions `y + residual` and `y`."""
        difference = y * (self.weights.sum() - 1)
        for i, residual in enumerate(residuals):
            difference = difference + residual * self.weights[i]
        return difference

    def core(self, x: Tensor) -> Tensor:
        enlarged = self.enlarge(x)
        y = luma(enlarged)
        return add_to_luma(enlarged, self.average(y, self.residuals(y)))

    def predictions(self, x: Tensor) -> list[Tensor]:
        """Images predicted by each recursion and, last, their average, which `forward` returns.

        Recursive supervision trains on all of them.
        """
        enlarged = self.enlarge(x)
        y = luma(enlarged)
        residuals = self.residuals(y)
        return [add_to_luma(enlarged, found) for found in [*residuals, self.average(y, residuals)]]

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("embedding.0.weight", "recursion.weight", "reconstruction.2.weight")
    if not has_convolutions(state_dict, needed) or "weights" not in state_dict:
        return None
    return {
        "num_feat": state_dict["embedding.0.weight"].shape[0],
        "num_recursion": state_dict["weights"].shape[0],
    }


SPEC = ARCHS.register(
    ArchSpec(
        name="DRCN",
        cls=DRCN,
        title="Deeply-Recursive Convolutional Network for Image Super-Resolution",
        paper="https://arxiv.org/abs/1511.04491",
        reference="https://cv.snu.ac.kr/research/DRCN",
        license="none stated",
        luma=True,
        scales=_SCALES,
        presets={
            **{f"drcn_x{s}": {"num_feat": 256, "num_recursion": 16, "upscale": s} for s in (2, 3, 4)},
            "drcn_tiny": {"num_feat": 8, "num_recursion": 3, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: reach_of_enlarged(args["upscale"], args["num_recursion"] + 4),
        infer=infer,
        notes=("the tensors of all scales have the same shapes: pass the scale",),
    )
)
