"""Accelerating the Super-Resolution Convolutional Neural Network, Dong, Loy, Tang, ECCV 2016.

Paper: https://arxiv.org/abs/1608.00367
Reference: https://github.com/yjn870/FSRCNN-pytorch (no license stated); the authors' own code is MATLAB.
State-dict keys are that port's. Differs from the paper: none. FSRCNN (56, 12, 4): 12,809 parameters, of which
12,464 are weights; FSRCNN-s (32, 5, 1): 4,086. The port's x3 weights measure 32.570 dB on Set5 and 29.196 dB
on Set14 by their own luma in 8 bit, as papers of luma networks do (`hfsr evaluate`); 0.03 dB more by RGB.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions, rename_keys
from ._luma import luma, with_luma
from ._resize import Bicubic
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["FSRCNN", "SPEC"]


@records_arguments
class FSRCNN(nn.Module):
    """Luma at LR size: feature extraction, shrinking, mapping, expanding; a 9x9 deconvolution upsamples.

    Args:
        num_feat: width d of the features.
        num_shrunk: width s of the mapping.
        num_map: mapping layers m.
        upscale: 2, 3 or 4.

    Raises:
        OptionsError: If the scale is not supported.
    """

    def __init__(
        self, *, num_feat: int = 56, num_shrunk: int = 12, num_map: int = 4, upscale: int = 3
    ) -> None:
        super().__init__()
        if upscale not in (2, 3, 4):
            raise OptionsError(f"scale {upscale} is not supported by FSRCNN: use 2, 3 or 4")
        self.scale = upscale
        self.enlarge = Bicubic(upscale)  # for the chroma
        self.first_part = nn.Sequential(nn.Conv2d(1, num_feat, 5, padding=2), nn.PReLU(num_feat))
        shrink = [nn.Conv2d(num_feat, num_shrunk, 1), nn.PReLU(num_shrunk)]
        mapping: list[nn.Module] = []
        for _ in range(num_map):
            mapping += [nn.Conv2d(num_shrunk, num_shrunk, 3, padding=1), nn.PReLU(num_shrunk)]
        expand = [nn.Conv2d(num_shrunk, num_feat, 1), nn.PReLU(num_feat)]
        self.mid_part = nn.Sequential(*shrink, *mapping, *expand)
        self.last_part = nn.ConvTranspose2d(
            num_feat, 1, 9, stride=upscale, padding=4, output_padding=upscale - 1
        )
        self._initialize()

    def _initialize(self) -> None:
        """Initializes weights for PReLU, as in the paper; the deconvolution starts near zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.25)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.last_part.weight, std=0.001)
        nn.init.zeros_(self.last_part.bias)  # type: ignore[arg-type]

    def core(self, x: Tensor) -> Tensor:
        y = self.last_part(self.mid_part(self.first_part(luma(x))))
        return with_luma(self.enlarge(x), y)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("first_part.0.weight", "mid_part.0.weight", "last_part.weight")
    if not has_convolutions(state_dict, needed) or state_dict["first_part.0.weight"].shape[1] != 1:
        return None
    return {
        "num_feat": state_dict["first_part.0.weight"].shape[0],
        "num_shrunk": state_dict["mid_part.0.weight"].shape[0],
        "num_map": count_indices(state_dict, "mid_part") // 2 - 2,
    }


def rename(state_dict: StateDict) -> StateDict:
    """Renames the layout whose keys are the names of the paper's steps."""
    if not has_convolutions(state_dict, ("feature_extraction.0.weight", "map.0.weight", "deconv.weight")):
        return state_dict
    steps = count_indices(state_dict, "map")
    rules = [
        (r"^feature_extraction\.", "first_part."),
        (r"^shrink\.", "mid_part."),
        (r"^deconv\.", "last_part."),
    ]
    rules += [(rf"^map\.{i}\.", f"mid_part.{2 + i}.") for i in range(steps)]
    rules += [(rf"^expand\.{i}\.", f"mid_part.{2 + steps + i}.") for i in range(2)]
    return rename_keys(state_dict, rules)


def _reach_of_deconvolution(upscale: int) -> int:
    """LR px to either side of an LR px on which its block of output px depends, in the 9x9 deconvolution."""
    return max(4 // upscale, (upscale + 3) // upscale)


SPEC = ARCHS.register(
    ArchSpec(
        name="FSRCNN",
        cls=FSRCNN,
        title="Accelerating the Super-Resolution Convolutional Neural Network",
        paper="https://arxiv.org/abs/1608.00367",
        reference="https://github.com/yjn870/FSRCNN-pytorch",
        license="none stated",
        luma=True,
        scales=(2, 3, 4),
        presets={
            **{
                f"fsrcnn_x{s}": {"num_feat": 56, "num_shrunk": 12, "num_map": 4, "upscale": s}
                for s in (2, 3, 4)
            },
            **{
                f"fsrcnn_s_x{s}": {"num_feat": 32, "num_shrunk": 5, "num_map": 1, "upscale": s}
                for s in (2, 3, 4)
            },
            "fsrcnn_tiny": {"num_feat": 8, "num_shrunk": 4, "num_map": 1, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: 2 + args["num_map"] + _reach_of_deconvolution(args["upscale"]),
        infer=infer,
        rename=rename,
        notes=("the tensors of all scales have the same shapes: pass the scale",),
    )
)
