"""Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, Shi et al., CVPR 2016.

Paper: https://arxiv.org/abs/1609.05158
Reference: https://github.com/yjn870/ESPCN-pytorch (no license stated); the authors published none.
State-dict keys are that port's. Differs from the paper: none. x2, x3, x4: 21,284, 22,729, 24,752 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._luma import luma, with_luma
from ._resize import Bicubic
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["ESPCN", "SPEC"]


@records_arguments
class ESPCN(nn.Module):
    """Luma at LR size through three convolutions with tanh, then a pixel shuffle of all sub-pixels.

    Args:
        num_feat: width after the first and after the second convolution.
        upscale: 2, 3, 4 or 8.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(self, *, num_feat: Sequence[int] = (64, 32), upscale: int = 3) -> None:
        super().__init__()
        if upscale not in (2, 3, 4, 8):
            raise OptionsError(f"scale {upscale} is not supported by ESPCN: use 2, 3, 4 or 8")
        self.scale = upscale
        wide, narrow = num_feat
        self.enlarge = Bicubic(upscale)  # for the chroma
        self.first_part = nn.Sequential(
            nn.Conv2d(1, wide, 5, padding=2), nn.Tanh(), nn.Conv2d(wide, narrow, 3, padding=1), nn.Tanh()
        )
        sub_pixels = nn.Conv2d(narrow, upscale * upscale, 3, padding=1)
        self.last_part = nn.Sequential(sub_pixels, nn.PixelShuffle(upscale))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(sub_pixels.weight, std=0.001)

    def core(self, x: Tensor) -> Tensor:
        y = self.last_part(self.first_part(luma(x)))
        return with_luma(self.enlarge(x), y)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("first_part.0.weight", "first_part.2.weight", "last_part.0.weight")
    if not has_convolutions(state_dict, needed) or state_dict["first_part.0.weight"].shape[1] != 1:
        return None
    wide, narrow, outputs = (state_dict[key].shape[0] for key in needed)
    return {"num_feat": [wide, narrow], "upscale": round(outputs**0.5)}


SPEC = ARCHS.register(
    ArchSpec(
        name="ESPCN",
        cls=ESPCN,
        title="Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional "
        "Neural Network",
        paper="https://arxiv.org/abs/1609.05158",
        reference="https://github.com/yjn870/ESPCN-pytorch",
        license="none stated",
        luma=True,
        scales=(2, 3, 4, 8),
        presets={
            **{f"espcn_x{s}": {"num_feat": [64, 32], "upscale": s} for s in (2, 3, 4)},
            "espcn_tiny": {"num_feat": [8, 4], "upscale": 2},
        },
        tiling="local",
        radius=lambda _: 4,
        infer=infer,
    )
)
