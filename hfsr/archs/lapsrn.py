"""Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution, Lai et al., CVPR 2017.

Paper: https://arxiv.org/abs/1704.03915
Reference: https://github.com/phoenix104104/LapSRN (MatConvNet, no license stated); the common port,
https://github.com/twtygqyy/pytorch-LapSRN, has 4x4 deconvolutions and no biases. State-dict keys are ours.
Differs from the reference: none. x2, x4, x8: 407,441, 814,242, 1,221,043 parameters.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import count_indices, has_convolutions, rename_keys
from ._luma import luma, with_luma
from ._resize import Bicubic
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = [
    "AUTHORS_LAYERS",
    "AUTHORS_TENSORS",
    "LEVELS",
    "SPEC",
    "FeatureUpsampling",
    "LapSRN",
    "authors_parts",
    "image_upsampling",
    "initialize",
    "radius_of",
    "scales_of_levels",
]

LEVELS = {2: 1, 3: 2, 4: 2, 8: 3}
"""Number of levels by scale; each doubles. An x3 image is computed at x4 and reduced by bicubic
interpolation, as in the authors' test code.
"""


class FeatureUpsampling(nn.Module):
    """Transposed convolution to exactly twice the size.

    A 3x3 kernel overhangs by one px, which is cropped at the bottom and on the right, as in the authors'
    MatConvNet code (crop [0 1 0 1]); a 4x4 kernel overhangs to all sides.
    """

    def __init__(self, num_feat: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.overhangs = kernel_size == 3
        padding = 0 if self.overhangs else 1
        self.conv = nn.ConvTranspose2d(num_feat, num_feat, kernel_size, stride=2, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        doubled = self.conv(x)
        return doubled[..., :-1, :-1] if self.overhangs else doubled


def image_upsampling() -> nn.ConvTranspose2d:
    """Image branch of a level: a learned 4x4 transposed convolution, initialized as bilinear."""
    layer = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_(torch.outer(row, row))
    return layer


@torch.no_grad()
def initialize(network: nn.Module, first: nn.Conv2d) -> None:
    """Initializes as the authors do: He's weights for LeakyReLU, zero biases, first convolution near zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.weight.shape[:2] != (1, 1):
            fan_in = module.kernel_size[0] * module.kernel_size[1] * module.in_channels
            module.weight.normal_(std=(2 / fan_in) ** 0.5)
            if module.bias is not None:
                module.bias.zero_()
    first.weight.normal_(std=0.001)


class Level(nn.Module):
    """One level of the pyramid: doubles features and image, and adds a residual from the features."""

    def __init__(self, num_feat: int, num_conv: int, deconv_kernel: int, bias: bool) -> None:
        super().__init__()
        convs: list[nn.Module] = []
        for _ in range(num_conv):
            convs += [nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias), nn.LeakyReLU(0.2, inplace=True)]
        self.convs = nn.Sequential(*convs)
        self.up_features = FeatureUpsampling(num_feat, deconv_kernel, bias)
        self.lrelu = nn.LeakyReLU(0.2)
        self.residual = nn.Conv2d(num_feat, 1, 3, padding=1, bias=bias)
        self.up_image = image_upsampling()

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.lrelu(self.up_features(self.convs(features)))
        return features, self.up_image(image) + self.residual(features)


@records_arguments
class LapSRN(nn.Module):
    """A pyramid of levels, each of which doubles the luma and adds a residual computed from features.

    Args:
        num_feat: width.
        num_conv: convolutions of a level before it doubles.
        deconv_kernel: side of the kernel that doubles the features: 3 for the authors, 4 for the port.
        bias: False for the port.
        upscale: 2, 4 or 8, or 3, which is x4 reduced.

    Raises:
        OptionsError: If the scale or the kernel is not supported.
    """

    def __init__(
        self,
        *,
        num_feat: int = 64,
        num_conv: int = 10,
        deconv_kernel: int = 3,
        bias: bool = True,
        upscale: int = 4,
    ) -> None:
        super().__init__()
        if upscale not in LEVELS:
            raise OptionsError(f"scale {upscale} is not supported by LapSRN: use 2, 3, 4 or 8")
        if deconv_kernel not in (3, 4):
            raise OptionsError(f"deconv_kernel {deconv_kernel}: use 3, or 4 for the PyTorch port")
        self.scale = upscale
        self.conv_first = nn.Conv2d(1, num_feat, 3, padding=1, bias=bias)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        self.levels = nn.ModuleList(
            Level(num_feat, num_conv, deconv_kernel, bias) for _ in range(LEVELS[upscale])
        )
        self.reduce = Bicubic(3, 4) if upscale == 3 else nn.Identity()
        self.enlarge = nn.ModuleList(Bicubic(scale) for scale in scales_of_levels(upscale))  # for the chroma
        initialize(self, self.conv_first)

    def lumas(self, x: Tensor) -> list[Tensor]:
        """Luma of the image at every level."""
        image = luma(x)
        features = self.lrelu(self.conv_first(image))
        images = []
        for level in self.levels:
            features, image = level(features, image)
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


def scales_of_levels(upscale: int) -> list[int]:
    """Returns the scale of every level's image, from 2 to `upscale`."""
    return [*(2**level for level in range(1, LEVELS[upscale])), upscale]


def radius_of(upscale: int, convs: int, deconv_kernel: int) -> int:
    """Receptive field in LR px of one LR px's block of output, computed from the last level to the first.

    Args:
        upscale: 2, 3, 4 or 8.
        convs: 3x3 convolutions that a level applies before it doubles.
        deconv_kernel: side of the kernel that doubles the features.
    """
    levels = LEVELS[upscale]
    low, high = (-2, 5) if upscale == 3 else (0, 2**levels - 1)  # px of the image; x3: seen by the reduction
    first, last = low, high  # px of the features
    for _ in range(levels):
        first, last = min(first, low - 1), max(last, high + 1)  # the residual convolution
        first = -((2 - first) // 2) - convs
        last = (last if deconv_kernel == 3 else last + 1) // 2 + convs
        low, high = -((2 - low) // 2), (high + 1) // 2
    return max(-first, last) + 1  # the first convolution


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "levels.0.convs.0.weight", "levels.0.up_features.conv.weight")
    if not has_convolutions(state_dict, needed):
        return None
    levels = count_indices(state_dict, "levels")
    arguments: dict[str, Any] = {
        "num_feat": state_dict["conv_first.weight"].shape[0],
        "num_conv": count_indices(state_dict, "levels.0.convs"),
        "deconv_kernel": state_dict["levels.0.up_features.conv.weight"].shape[-1],
        "bias": "conv_first.bias" in state_dict,
    }
    # x3 and x4 both have two levels: the caller must pass that scale. The port exists for x4 only.
    told = levels != 2 or not (arguments["bias"] or arguments["deconv_kernel"] == 3)
    return {**arguments, "upscale": 2**levels} if told else arguments


def rename(state_dict: StateDict) -> StateDict:
    """Renames the authors' layout, as `hfsr.checkpoints` reads a .mat file, and that of the PyTorch port."""
    if "convt_F1.0.cov_block.0.weight" in state_dict:
        return _rename_port(state_dict)
    theirs = authors_parts(state_dict)
    levels = [int(part["level"]) for part in theirs.values() if part["level"]]
    if not levels:
        return state_dict
    renamed = {key: tensor for key, tensor in state_dict.items() if key not in theirs}
    for key, part in theirs.items():
        # The authors' levels count down to 1, the largest.
        prefix = f"levels.{max(levels) - int(part['level'])}." if part["level"] else ""
        layer = f"convs.{2 * int(part['conv']) - 2}" if part["conv"] else AUTHORS_LAYERS[part["layer"]]
        renamed[f"{prefix}{layer}.{AUTHORS_TENSORS[part['tensor']]}"] = state_dict[key]
    return renamed


def _rename_port(state_dict: StateDict) -> StateDict:
    deconvolution = 2 * count_indices(state_dict, "convt_F1.0.cov_block") - 2
    rules = [(r"^conv_input\.", "conv_first.")]
    for i in range(sum(key.startswith("convt_I") for key in state_dict)):
        rules += [
            (rf"^convt_F{i + 1}\.0\.cov_block\.{deconvolution}\.", f"levels.{i}.up_features.conv."),
            (rf"^convt_F{i + 1}\.0\.cov_block\.", f"levels.{i}.convs."),
            (rf"^convt_R{i + 1}\.", f"levels.{i}.residual."),
            (rf"^convt_I{i + 1}\.", f"levels.{i}.up_image."),
        ]
    return rename_keys(state_dict, rules)


def authors_parts(state_dict: StateDict) -> dict[str, re.Match[str]]:
    """Matches of the keys that are the authors' parameters; empty if it is not their layout."""
    parts = {key: part for key in state_dict if (part := _AUTHORS_PARAMETER.search(key))}
    return parts if any(part["layer"] == "img_up" for part in parts.values()) else {}


_AUTHORS_PARAMETER = re.compile(
    r"(?:^|\.)(?:level(?P<level>\d+)_)?"
    r"(?:conv(?P<conv>\d+)|(?P<layer>input_conv|upconv|residual_conv|img_up))_(?P<tensor>[fb])$"
)
AUTHORS_LAYERS = {
    "input_conv": "conv_first",
    "upconv": "up_features.conv",
    "residual_conv": "residual",
    "img_up": "up_image",
}
AUTHORS_TENSORS = {"f": "weight", "b": "bias"}


SPEC = ARCHS.register(
    ArchSpec(
        name="LapSRN",
        cls=LapSRN,
        title="Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution",
        paper="https://arxiv.org/abs/1704.03915",
        reference="https://github.com/phoenix104104/LapSRN",
        license="none stated",
        luma=True,
        scales=tuple(LEVELS),
        presets={
            **{f"lapsrn_x{s}": {"num_feat": 64, "num_conv": 10, "upscale": s} for s in LEVELS},
            "lapsrn_tiny": {"num_feat": 8, "num_conv": 2, "upscale": 2},
        },
        tiling="local",
        radius=lambda args: radius_of(args["upscale"], args["num_conv"], args["deconv_kernel"]),
        infer=infer,
        rename=rename,
        notes=("the tensors of x3 and x4 have the same shapes: pass the scale",),
    )
)
