"""Image Super-Resolution Using Deep Convolutional Networks, Dong et al., ECCV 2014 and TPAMI 2016.

Paper: https://arxiv.org/abs/1501.00092
Reference: https://github.com/yjn870/SRCNN-pytorch (no license stated); the authors' own code is MATLAB.
State-dict keys are that port's. Differs from the paper: convolutions pad with zeros, so that no border is
lost. 9-1-5, 9-3-5, 9-5-5 on luma: 8,129, 24,513 and 57,281 parameters; on RGB: 20,099, 36,483 and 69,251.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._luma import luma, with_luma
from ._readings import Evidence, Reading
from ._resize import Bicubic, SharperBicubic, reach_of_enlarged
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["SPEC", "SRCNN"]

_SCALES = (2, 3, 4, 8)
_ENLARGEMENTS = {"matlab": Bicubic, "torch": SharperBicubic}
_MMAGIC = "generator."
"""Prefix of the keys in checkpoints of MMEditing and MMagic, whose SRCNN enlarges by PyTorch's bicubic."""


@records_arguments
class SRCNN(nn.Module):
    """Three convolutions on the bicubically upscaled image: patches, their mapping, reconstruction.

    Args:
        colour: "luma" for a network of the luma (chroma is bicubic), "rgb" for one of all three channels.
        num_feat: width after the first and after the second convolution.
        kernel_size: side of the second kernel: 1, 3 or 5; the first has 9, the last 5.
        upscale: 2, 3, 4 or 8; weights are trained for one scale, though no tensor shows which.
        interpolation: "matlab" for bicubic with a = -0.5, as in the paper, or "torch" for that of
            `F.interpolate` with a = -0.75, which MMagic uses.

    Raises:
        OptionsError: If the scale, `colour`, kernel or interpolation is not supported.
    """

    def __init__(
        self,
        *,
        colour: Literal["luma", "rgb"] = "luma",
        num_feat: Sequence[int] = (64, 32),
        kernel_size: int = 5,
        upscale: int = 3,
        interpolation: Literal["matlab", "torch"] = "matlab",
    ) -> None:
        super().__init__()
        if upscale not in _SCALES:
            raise OptionsError(f"scale {upscale} is not supported by SRCNN: use 2, 3, 4 or 8")
        if colour not in ("luma", "rgb"):
            raise OptionsError(f"colour '{colour}' is not supported by SRCNN: use luma or rgb")
        if kernel_size % 2 == 0:
            raise OptionsError(f"kernel_size {kernel_size} is even: SRCNN needs an odd one, as 1, 3 or 5")
        if interpolation not in _ENLARGEMENTS:
            raise OptionsError(f"interpolation '{interpolation}' is unknown: use matlab or torch")
        self.scale = upscale
        self.colour = colour
        channels = 1 if colour == "luma" else 3
        wide, narrow = num_feat
        self.enlarge = _ENLARGEMENTS[interpolation](upscale)
        self.conv1 = nn.Conv2d(channels, wide, 9, padding=4)
        self.conv2 = nn.Conv2d(wide, narrow, kernel_size, padding=kernel_size // 2)
        self.conv3 = nn.Conv2d(narrow, channels, 5, padding=2)
        self.relu = nn.ReLU(inplace=True)
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.normal_(conv.weight, std=0.001)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def core(self, x: Tensor) -> Tensor:
        enlarged = self.enlarge(x)
        if self.colour == "rgb":
            return self.restore(enlarged)
        return with_luma(enlarged, self.restore(luma(enlarged)))

    def restore(self, x: Tensor) -> Tensor:
        """Applies the three convolutions to an image or luma at its final size."""
        return self.conv3(self.relu(self.conv2(self.relu(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self.core(x)


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    if {key.partition(".")[0] for key in state_dict} != {"conv1", "conv2", "conv3"}:
        return None
    if not has_convolutions(state_dict, ("conv1.weight", "conv2.weight", "conv3.weight")):
        return None
    first, second = state_dict["conv1.weight"], state_dict["conv2.weight"]
    if first.shape[-1] != 9 or first.shape[1] not in (1, 3):
        return None
    return {
        "colour": "luma" if first.shape[1] == 1 else "rgb",
        "num_feat": [first.shape[0], second.shape[0]],
        "kernel_size": second.shape[-1],
    }


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    """Readings by the interpolation; that of MMagic only with a sign of it, because both look alike."""
    if evidence.prefix == _MMAGIC and arguments["colour"] == "rgb":
        return [Reading(arguments={"interpolation": "torch"}, reason="the keys begin as MMagic writes them")]
    return [Reading(arguments={"interpolation": "matlab"}, reason="as in the paper")]


def _presets() -> dict[str, dict[str, Any]]:
    return {
        f"srcnn_{prefix}9{kernel}5_x{s}": {
            "colour": colour,
            "num_feat": [64, 32],
            "kernel_size": kernel,
            "upscale": s,
        }
        for prefix, colour in (("", "luma"), ("rgb_", "rgb"))
        for kernel in (1, 3, 5)
        for s in (2, 3, 4)
    }


SPEC = ARCHS.register(
    ArchSpec(
        name="SRCNN",
        cls=SRCNN,
        title="Image Super-Resolution Using Deep Convolutional Networks",
        paper="https://arxiv.org/abs/1501.00092",
        reference="https://github.com/yjn870/SRCNN-pytorch",
        license="none stated",
        luma=True,
        scales=_SCALES,
        presets={
            **_presets(),
            "srcnn_tiny": {"num_feat": [8, 4], "kernel_size": 3, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: reach_of_enlarged(args["upscale"], 6 + args["kernel_size"] // 2),
        infer=infer,
        readings=readings,
        notes=("the tensors of all scales have the same shapes: pass the scale",),
    )
)
