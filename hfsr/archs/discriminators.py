"""Discriminators of the adversarial recipes: each returns one logit per image, or one per patch.

SRGANDiscriminator
    Paper: https://arxiv.org/abs/1609.04802 (Ledig et al., CVPR 2017, figure 4)
    Reference: none was released by the authors.
    Differs from the paper: no sigmoid, because the losses take logits. 96x96 px: 23,565,505 parameters.
VGGStyleDiscriminator
    Paper: https://arxiv.org/abs/1809.00219 (Wang et al., ECCVW 2018; the paper leaves its layers open)
    Reference: https://github.com/XPixelGroup/BasicSR (Apache-2.0)
    Constructor arguments, defaults and state-dict keys are BasicSR's. 128x128 px: 14,499,401 parameters.
PatchDiscriminator
    Paper: https://arxiv.org/abs/1611.07004 (Isola et al., CVPR 2017, pix2pix, appendix 6.1.2)
    Reference: https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix (BSD-2-Clause)
    State-dict keys are the reference's. Unconditional: it receives the image alone. 2,765,633 parameters.
"""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = [
    "PATCH_SPEC",
    "SRGAN_SPEC",
    "VGG_SPEC",
    "PatchDiscriminator",
    "SRGANDiscriminator",
    "VGGStyleDiscriminator",
]


def check_size(x: Tensor, input_size: int, name: str) -> None:
    """Checks the size of an image, which the dense layer after the convolutions fixes.

    Raises:
        OptionsError: If the image has another size.
    """
    height, width = x.shape[-2:]
    if (height, width) != (input_size, input_size):
        raise OptionsError(
            f"{name} takes images of {input_size}x{input_size} px, not {width}x{height}: make gt_size and "
            "input_size equal"
        )


@records_arguments
class SRGANDiscriminator(nn.Module):
    """Eight convolutions, every second one of stride 2, then two dense layers.

    Args:
        num_in_ch: channels of the input.
        num_feat: width of the first convolution; it doubles three times.
        input_size: side of the input images in px; a multiple of 16.
        num_hidden: width of the first dense layer.

    Raises:
        OptionsError: If input_size is not a multiple of 16.
    """

    def __init__(
        self, *, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 96, num_hidden: int = 1024
    ) -> None:
        super().__init__()
        if input_size < 16 or input_size % 16:
            raise OptionsError(f"input_size {input_size} is not a multiple of 16")
        self.input_size = input_size
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        widths = [num_feat * factor for factor in (1, 2, 2, 4, 4, 8, 8)]
        layers: list[nn.Module] = []
        before = num_feat
        for i, width in enumerate(widths):
            layers.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, stride=1 if i % 2 else 2, padding=1),
                    nn.BatchNorm2d(width),
                    nn.LeakyReLU(0.2, inplace=True),
                )
            )
            before = width
        self.body = nn.Sequential(*layers)
        self.linear1 = nn.Linear(before * (input_size // 16) ** 2, num_hidden)
        self.linear2 = nn.Linear(num_hidden, 1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, input_size, input_size). Returns: logits of "real", (B, 1)."""
        check_size(x, self.input_size, type(self).__name__)
        features = self.body(self.lrelu(self.conv_first(x * 2 - 1)))  # the paper's range is [-1, 1]
        return self.linear2(self.lrelu(self.linear1(features.flatten(1))))


@records_arguments
class VGGStyleDiscriminator(nn.Module):
    """Pairs of convolutions, the second of each pair 4x4 with stride 2, then two dense layers.

    Args:
        num_in_ch: channels of the input.
        num_feat: width of the first pair; it doubles three times.
        input_size: side of the input images in px: 128 or 256.

    Raises:
        OptionsError: If input_size is not supported.
    """

    def __init__(self, *, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128) -> None:
        super().__init__()
        if input_size not in (128, 256):
            raise OptionsError(f"input_size {input_size} is not supported: use 128 or 256")
        self.input_size = input_size
        widths = [num_feat * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.num_stage = 5 if input_size == 128 else 6
        before = num_in_ch
        for i, width in enumerate(widths[: self.num_stage]):
            # The first convolution has a bias and no norm; before a norm a bias has no effect.
            self.add_module(f"conv{i}_0", nn.Conv2d(before, width, 3, padding=1, bias=i == 0))
            if i > 0:
                self.add_module(f"bn{i}_0", nn.BatchNorm2d(width))
            self.add_module(f"conv{i}_1", nn.Conv2d(width, width, 4, stride=2, padding=1, bias=False))
            self.add_module(f"bn{i}_1", nn.BatchNorm2d(width))
            before = width
        self.linear1 = nn.Linear(before * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, input_size, input_size). Returns: logits of "real", (B, 1)."""
        check_size(x, self.input_size, type(self).__name__)
        features = x
        for i in range(self.num_stage):
            features = self.get_submodule(f"conv{i}_0")(features)
            features = self.lrelu(self.get_submodule(f"bn{i}_0")(features) if i > 0 else features)
            features = self.lrelu(self.get_submodule(f"bn{i}_1")(self.get_submodule(f"conv{i}_1")(features)))
        return self.linear2(self.lrelu(self.linear1(features.flatten(1))))


@records_arguments
class PatchDiscriminator(nn.Module):
    """4x4 convolutions that classify overlapping patches; for images of any size.

    With three strided convolutions each logit depends on 70x70 px.

    Args:
        num_in_ch: channels of the input.
        num_feat: width of the first convolution; it doubles up to three times.
        num_strided: strided convolutions, at least 1; two more convolutions of stride 1 follow.

    Raises:
        OptionsError: If num_strided is less than 1.
    """

    def __init__(self, *, num_in_ch: int = 3, num_feat: int = 64, num_strided: int = 3) -> None:
        super().__init__()
        if num_strided < 1:
            raise OptionsError(f"num_strided {num_strided} is less than 1")
        self.min_size = 2 ** (num_strided + 2)
        widths = [num_feat * min(2**i, 8) for i in range(num_strided + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(num_in_ch, num_feat, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for i, (before, width) in enumerate(itertools.pairwise(widths), 1):
            layers += [
                nn.Conv2d(before, width, 4, stride=2 if i < num_strided else 1, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.model = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: logits of "real", (B, 1, h, w)."""
        height, width = x.shape[-2:]
        if min(height, width) < self.min_size:
            raise OptionsError(
                f"PatchDiscriminator takes images of at least {self.min_size}x{self.min_size} px, not "
                f"{width}x{height}: increase gt_size or reduce num_strided"
            )
        return self.model(x * 2 - 1)  # the reference's range is [-1, 1]


def infer_patch(state_dict: StateDict) -> dict[str, Any] | None:
    if not has_convolutions(state_dict, ("model.0.weight", "model.2.weight")):
        return None
    convolutions = [key for key, tensor in state_dict.items() if tensor.ndim == 4]
    is_patch = all(key.startswith("model.") for key in state_dict) and "model.3.running_mean" in state_dict
    if not is_patch or any(state_dict[key].shape[-1] != 4 for key in convolutions):
        return None
    num_feat, num_in_ch = state_dict["model.0.weight"].shape[:2]
    return {"num_in_ch": num_in_ch, "num_feat": num_feat, "num_strided": len(convolutions) - 2}


def infer_srgan(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv_first.weight", "body.0.0.weight", "body.6.0.weight")
    if not has_convolutions(state_dict, needed) or "linear1.weight" not in state_dict:
        return None
    num_feat, num_in_ch = state_dict["conv_first.weight"].shape[:2]
    num_hidden, flat = state_dict["linear1.weight"].shape
    side = round((flat / (8 * num_feat)) ** 0.5)
    return {
        "num_in_ch": num_in_ch,
        "num_feat": num_feat,
        "input_size": 16 * side,
        "num_hidden": num_hidden,
    }


def infer_vgg(state_dict: StateDict) -> dict[str, Any] | None:
    needed = ("conv0_0.weight", "conv0_1.weight", "conv4_1.weight")
    if not has_convolutions(state_dict, needed) or "linear1.weight" not in state_dict:
        return None
    num_feat, num_in_ch = state_dict["conv0_0.weight"].shape[:2]
    input_size = 256 if "conv5_1.weight" in state_dict else 128
    return {"num_in_ch": num_in_ch, "num_feat": num_feat, "input_size": input_size}


SRGAN_SPEC = ARCHS.register(
    ArchSpec(
        name="SRGANDiscriminator",
        cls=SRGANDiscriminator,
        role="discriminator",
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        paper="https://arxiv.org/abs/1609.04802",
        reference="none: the authors released no code",
        license="none stated",
        scales=(),
        presets={
            "srgan_discriminator_96": {"num_feat": 64, "input_size": 96},
            "srgan_discriminator_tiny": {"num_feat": 4, "input_size": 16, "num_hidden": 8},
        },
        radius=lambda args: args["input_size"],
        infer=infer_srgan,
    )
)

VGG_SPEC = ARCHS.register(
    ArchSpec(
        name="VGGStyleDiscriminator",
        cls=VGGStyleDiscriminator,
        role="discriminator",
        title="ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
        paper="https://arxiv.org/abs/1809.00219",
        reference="https://github.com/XPixelGroup/BasicSR",
        license="Apache-2.0",
        scales=(),
        presets={
            "vgg_discriminator_128": {"num_feat": 64, "input_size": 128},
            "vgg_discriminator_256": {"num_feat": 64, "input_size": 256},
            "vgg_discriminator_tiny": {"num_feat": 2, "input_size": 128},
        },
        radius=lambda args: args["input_size"],
        infer=infer_vgg,
    )
)

PATCH_SPEC = ARCHS.register(
    ArchSpec(
        name="PatchDiscriminator",
        cls=PatchDiscriminator,
        role="discriminator",
        title="Image-to-Image Translation with Conditional Adversarial Networks",
        paper="https://arxiv.org/abs/1611.07004",
        reference="https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
        license="BSD-2-Clause",
        scales=(),
        presets={
            "patch_discriminator_70": {"num_feat": 64, "num_strided": 3},
            "patch_discriminator_tiny": {"num_feat": 2, "num_strided": 1},
        },
        radius=lambda args: (9 * 2 ** args["num_strided"] - 2) // 2,
        infer=infer_patch,
    )
)
