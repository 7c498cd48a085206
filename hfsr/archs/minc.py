"""VGG16 for materials: the features of ESRGAN's other perceptual loss, "MINC".

Paper: https://arxiv.org/abs/1809.00219 (Wang et al., ECCVW 2018), which uses it: VGG16 fine-tuned to classify
the materials of the Materials in Context Database (https://arxiv.org/abs/1412.0623).
Reference: none; the circulated file `VGG16minc_53.pth`, whose keys these are, was made from a Caffe model.
Neither its license nor its input normalization is known; circulated code passes RGB in [0, 1] unchanged.
Differs from VGG16: pools round sizes up, and nothing follows the last convolution. 14,714,688 parameters.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hfsr.registry import ARCHS

from ._layers import has_convolutions
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "VGG16MINC"]

_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Width factor and number of convolutions between pools."""


@records_arguments
class VGG16MINC(nn.Module):
    """Thirteen 3x3 convolutions with ReLUs between them and four max-poolings.

    Args:
        num_in_ch: channels of the input.
        num_feat: width of the first two convolutions; the last have eight times as many.
    """

    def __init__(self, *, num_in_ch: int = 3, num_feat: int = 64) -> None:
        super().__init__()
        before = num_in_ch
        for stage, (factor, count) in enumerate(_STAGES, 1):
            for i in range(1, count + 1):
                self.add_module(f"conv{stage}{i}", nn.Conv2d(before, num_feat * factor, 3, padding=1))
                before = num_feat * factor

    def layers(self) -> list[tuple[str, nn.Module]]:
        """Every layer in order, by the names that losses use: conv1_1, relu1_1, ..., pool4, ..., conv5_3."""
        listed: list[tuple[str, nn.Module]] = []
        for stage, (_, count) in enumerate(_STAGES, 1):
            for i in range(1, count + 1):
                listed.append((f"conv{stage}_{i}", self.get_submodule(f"conv{stage}{i}")))
                listed.append((f"relu{stage}_{i}", nn.ReLU()))
            listed.append((f"pool{stage}", nn.MaxPool2d(2, ceil_mode=True)))
        return listed[:-2]  # nothing after the last convolution

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB, (B, 3, H, W). Returns: features, (B, 8 * num_feat, ceil(H / 16), ceil(W / 16))."""
        for _, layer in self.layers():
            x = layer(x)
        return x


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    if not has_convolutions(state_dict, ("conv11.weight", "conv12.weight", "conv53.weight")):
        return None
    num_feat, num_in_ch = state_dict["conv11.weight"].shape[:2]
    return {"num_in_ch": num_in_ch, "num_feat": num_feat}


SPEC = ARCHS.register(
    ArchSpec(
        name="VGG16MINC",
        cls=VGG16MINC,
        role="features",
        task="perceptual loss",
        title="ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
        paper="https://arxiv.org/abs/1809.00219",
        reference="none: the weight file circulates without its code",
        license="none stated",
        scales=(),
        presets={"vgg16_minc": {"num_feat": 64}, "vgg16_minc_tiny": {"num_feat": 2}},
        radius=lambda _: 98,
        infer=infer,
        notes=("whether the input needs ImageNet's mean and deviation is unknown: set it in the loss",),
    )
)
