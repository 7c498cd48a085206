"""Large Scale GAN Training for High Fidelity Natural Image Synthesis, Brock et al., ICLR 2019: BigGAN.

Paper: https://arxiv.org/abs/1809.11096; as a prior for restoration: https://arxiv.org/abs/2003.13659
Reference: https://github.com/ajbrock/BigGAN-PyTorch (MIT), used by
    https://github.com/XingangPan/deep-generative-prior (MIT)
State-dict keys are the reference's. Differs from it: images are [0, 1] outside and [-1, 1] inside; weights
start normal, not orthogonal; 1x1 convolutions come before the nearest enlargement, with which they commute.
Generator of 128 px: 70,433,988 parameters (a prior's instance norms would add 14,784 that no file holds),
discriminator 87,982,370.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._biggan_blocks import DiscriminatorBlock, GeneratorBlock, SelfAttention
from ._biggan_layers import BN_EPS, BatchNorm, ConditionalBatchNorm, SNConv2d, SNEmbedding, SNLinear
from ._layers import count_indices, has_convolutions
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = [
    "BN_EPS",
    "DISCRIMINATOR_SPEC",
    "GENERATOR_SPEC",
    "BigGANDiscriminator",
    "BigGANGenerator",
    "ConditionalBatchNorm",
]

WIDTHS = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
"""By side of the image: widths along the generator, from 4x4 px on; the discriminator has them reversed."""
SMALLEST = 4
ATTENTION_SIDE = 64
"""Side in px of the maps that attend to themselves."""


def check_resolution(resolution: int, num_feat: int) -> None:
    """Raises OptionsError where there is no such network."""
    if resolution not in WIDTHS:
        raise OptionsError(f"resolution {resolution} is not supported by BigGAN: use 128 or 256")
    if num_feat < 8 or num_feat % 8:
        raise OptionsError(f"num_feat {num_feat} is not a multiple of 8")


@records_arguments
class BigGANGenerator(nn.Module):
    """Makes an image from a latent vector, a share of which enters at each resolution, and a class.

    Args:
        resolution: side of the images in px, 128 or 256.
        num_feat: width multiplier (96 as released, 64 in a smaller one), a multiple of 8.
        z_chunk: latent numbers at each resolution: 20 at 128 px, 17 at 256 px.
        shared_dim: numbers of a class embedding.
        num_class: classes.

    Attributes:
        dim_z: latent numbers in all, 120 or 119.

    Raises:
        OptionsError: another resolution or width.
    """

    def __init__(
        self,
        *,
        resolution: int = 128,
        num_feat: int = 96,
        z_chunk: int = 20,
        shared_dim: int = 128,
        num_class: int = 1000,
    ) -> None:
        super().__init__()
        check_resolution(resolution, num_feat)
        widths = [factor * num_feat for factor in WIDTHS[resolution]]
        self.resolution = resolution
        self.z_chunk = z_chunk
        self.dim_z = z_chunk * len(widths)
        self.shared = nn.Embedding(num_class, shared_dim)
        self.linear = SNLinear(z_chunk, widths[0] * SMALLEST**2)
        self.blocks = nn.ModuleList()
        side = SMALLEST
        for before, after in itertools.pairwise(widths):
            side *= 2
            parts: list[nn.Module] = [GeneratorBlock(before, after, shared_dim + z_chunk)]
            if side == ATTENTION_SIDE:
                parts.append(SelfAttention(after))
            self.blocks.append(nn.ModuleList(parts))
        self.output_layer = nn.Sequential(
            BatchNorm(widths[-1]), nn.ReLU(inplace=True), SNConv2d(widths[-1], 3, 3)
        )

    def forward(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Makes images.

        Args:
            z: latent vectors, standard normal, (B, dim_z).
            embedding: of their classes, as `self.shared(classes)` gives it, (B, shared_dim).

        Returns:
            RGB in [0, 1], (B, 3, resolution, resolution).
        """
        first, *others = z.split(self.z_chunk, 1)
        features = self.linear(first).unflatten(1, (-1, SMALLEST, SMALLEST))
        for parts, chunk in zip(self.blocks, others, strict=True):
            block, *attention = parts.children()
            features = block(features, torch.cat([embedding, chunk], 1))
            for attend in attention:
                features = attend(features)
        return (self.output_layer(features).tanh() + 1) / 2


@records_arguments
class BigGANDiscriminator(nn.Module):
    """Judges an image by one number, and tells what it saw on the way.

    Args:
        resolution: side of the images in px, 128 or 256.
        num_feat: width multiplier (96 as released, 64 in a smaller one), a multiple of 8.
        num_class: classes.

    Raises:
        OptionsError: another resolution or width.
    """

    def __init__(self, *, resolution: int = 128, num_feat: int = 96, num_class: int = 1000) -> None:
        super().__init__()
        check_resolution(resolution, num_feat)
        widths = [factor * num_feat for factor in reversed(WIDTHS[resolution])]
        self.resolution = resolution
        self.blocks = nn.ModuleList()
        side = resolution
        for before, after in zip([3, *widths[:-1]], widths, strict=True):
            halves = side > SMALLEST
            parts: list[nn.Module] = [
                DiscriminatorBlock(before, after, halves=halves, first=side == resolution)
            ]
            side = side // 2 if halves else side
            if side == ATTENTION_SIDE:
                parts.append(SelfAttention(after))
            self.blocks.append(nn.ModuleList(parts))
        self.linear = SNLinear(widths[-1], 1)
        self.embed = SNEmbedding(num_class, widths[-1])

    def features(self, x: Tensor) -> list[Tensor]:
        """What a generative prior compares images by.

        Args:
            x: RGB in [0, 1], (B, 3, resolution, resolution).

        Returns:
            The map after each block and after the attention, in order, the last one activated, and then its
            sum over all px, (B, C): 8 at 128 px, 9 at 256 px.
        """
        maps = []
        features = 2 * x - 1
        for parts in self.blocks:
            for part in parts.children():
                features = part(features)
                maps.append(features)
        # The reference activates in place and so compares the last map after its ReLU.
        last = F.relu(maps.pop())
        return [*maps, last, last.sum((2, 3))]

    def forward(self, x: Tensor, classes: Tensor | None = None) -> Tensor:
        """Judges images.

        Args:
            x: RGB in [0, 1], (B, 3, resolution, resolution).
            classes: their numbers, (B,); left out, the images are judged without regard to a class.

        Returns:
            Logits of "real", (B, 1).
        """
        pooled = self.features(x)[-1]
        logits = self.linear(pooled)
        if classes is None:
            return logits
        return logits + (self.embed(classes) * pooled).sum(1, keepdim=True)


_FIRST_WEIGHT = "blocks.0.0.conv1.weight"


def _resolution_of(state_dict: StateDict, blocks_more: int) -> int | None:
    """The resolution with so many blocks, which are `blocks_more` than the widths have steps."""
    steps = {len(widths) - 1 + blocks_more: resolution for resolution, widths in WIDTHS.items()}
    return steps.get(count_indices(state_dict, "blocks"))


def infer_generator(state_dict: StateDict) -> dict[str, Any] | None:
    resolution = _resolution_of(state_dict, 0)
    needed = ("shared.weight", "linear.u0", "blocks.0.0.bn1.gain.weight", "output_layer.0.stored_mean")
    if resolution is None or any(key not in state_dict for key in needed):
        return None
    if state_dict["shared.weight"].dim() != 2 or not has_convolutions(state_dict, [_FIRST_WEIGHT]):
        return None
    num_class, shared_dim = state_dict["shared.weight"].shape
    return {
        "resolution": resolution,
        "num_feat": state_dict["output_layer.0.stored_mean"].shape[0],
        "z_chunk": state_dict["linear.weight"].shape[1],
        "shared_dim": shared_dim,
        "num_class": num_class,
    }


def infer_discriminator(state_dict: StateDict) -> dict[str, Any] | None:
    resolution = _resolution_of(state_dict, 1)
    needed = ("embed.weight", "linear.u0", "blocks.0.0.conv1.u0")
    if resolution is None or any(key not in state_dict for key in needed):
        return None
    if not has_convolutions(state_dict, [_FIRST_WEIGHT]):
        return None
    return {
        "resolution": resolution,
        "num_feat": state_dict[_FIRST_WEIGHT].shape[0],
        "num_class": state_dict["embed.weight"].shape[0],
    }


_SIZES = {"128": (128, 96, 20), "256": (256, 96, 17), "256_ch64": (256, 64, 17)}
"""By name: resolution, width multiplier, latent numbers at each resolution."""

_SYSTEM: dict[str, Any] = {
    "task": "image-generation",
    "title": "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
    "paper": "https://arxiv.org/abs/1809.11096",
    "reference": "https://github.com/ajbrock/BigGAN-PyTorch",
    "license": "MIT",
    "scales": (),
    "radius": lambda args: args["resolution"],
}

GENERATOR_SPEC = ARCHS.register(
    ArchSpec(
        name="BigGANGenerator",
        cls=BigGANGenerator,
        role="generator",
        presets={
            **{
                f"biggan_generator_{name}": {"resolution": side, "num_feat": width, "z_chunk": chunk}
                for name, (side, width, chunk) in _SIZES.items()
            },
            "biggan_generator_tiny": {
                "resolution": 128,
                "num_feat": 8,
                "z_chunk": 2,
                "shared_dim": 4,
                "num_class": 3,
            },
        },
        infer=infer_generator,
        **_SYSTEM,
    )
)

DISCRIMINATOR_SPEC = ARCHS.register(
    ArchSpec(
        name="BigGANDiscriminator",
        cls=BigGANDiscriminator,
        role="discriminator",
        presets={
            **{
                f"biggan_discriminator_{name}": {"resolution": side, "num_feat": width}
                for name, (side, width, _) in _SIZES.items()
            },
            "biggan_discriminator_tiny": {"resolution": 128, "num_feat": 8, "num_class": 3},
        },
        infer=infer_discriminator,
        **_SYSTEM,
    )
)
