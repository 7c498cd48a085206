"""Large Scale GAN Training for High Fidelity Natural Image Synthesis, Brock et al., ICLR 2019: BigGAN.

Paper: https://arxiv.org/abs/1809.11096; as a prior for restoration: https://arxiv.org/abs/2003.13659
Reference: https://github.com/ajbrock/BigGAN-PyTorch (MIT), used by
    https://github.com/XingangPan/deep-generative-prior (MIT)
State-dict keys are the reference's. Differs from it: pictures are [0, 1] outside and [-1, 1] inside; weights
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

from ._layers import count_indices, has_convolutions
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["DISCRIMINATOR_SPEC", "GENERATOR_SPEC", "BigGANDiscriminator", "BigGANGenerator"]

WIDTHS = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
"""By side of the picture: widths along the generator, from 4x4 px on; the discriminator has them reversed."""
SMALLEST = 4
ATTENTION_SIDE = 64
"""Side in px of the maps that attend to themselves."""
BN_EPS = 1e-5


class SpectralNorm:
    """What makes a layer divide its weight by its largest singular value.

    That value is followed by one step of power iteration in each call, from the left singular vector `u0`,
    which remembers the step in training mode only. Gradients see the weight in it, not the vectors.
    """

    def add_spectral_norm(self: Any) -> None:
        """Once there is a weight: gives it a start, and a place for its singular vector and value."""
        nn.init.normal_(self.weight, std=0.02)
        self.register_buffer("u0", torch.randn(1, self.weight.shape[0]))
        self.register_buffer("sv0", torch.ones(1))  # for people to watch; nothing reads it

    def normalised(self: Any) -> Tensor:
        """The weight over its largest singular value."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ matrix)
            u = F.normalize(v @ matrix.T)
        value = (u @ matrix @ v.T).squeeze()
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.copy_(value)
        return self.weight / value


class SNConv2d(SpectralNorm, nn.Conv2d):
    """A convolution of stride 1 that keeps the size of a map, spectrally normalised."""

    def __init__(self, num_in: int, num_out: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, kernel_size, padding=kernel_size // 2, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalised(), self.bias, padding=self.padding)


class SNLinear(SpectralNorm, nn.Linear):
    """A linear layer, spectrally normalised."""

    def __init__(self, num_in: int, num_out: int, *, bias: bool = True) -> None:
        super().__init__(num_in, num_out, bias=bias)
        self.add_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised(), self.bias)


class SNEmbedding(SpectralNorm, nn.Embedding):
    """An embedding, spectrally normalised."""

    def __init__(self, num_class: int, num_feat: int) -> None:
        super().__init__(num_class, num_feat)
        self.add_spectral_norm()

    def forward(self, classes: Tensor) -> Tensor:
        return F.embedding(classes, self.normalised())


class SelfAttention(nn.Module):
    """Each px sees the whole map at half resolution; what it finds is added, at first by 0."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.theta = SNConv2d(num_feat, num_feat // 8, 1, bias=False)
        self.phi = SNConv2d(num_feat, num_feat // 8, 1, bias=False)
        self.g = SNConv2d(num_feat, num_feat // 2, 1, bias=False)
        self.o = SNConv2d(num_feat // 2, num_feat, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2)  # (B, C/8, HW)
        keys = F.max_pool2d(self.phi(x), 2).flatten(2)  # (B, C/8, HW/4)
        values = F.max_pool2d(self.g(x), 2).flatten(2)  # (B, C/2, HW/4)
        # The fused kernel never holds the shares, but wants vectors of one length; zeros add nothing.
        missing = (0, 0, 0, values.shape[1] - keys.shape[1])
        vectors = (F.pad(queries, missing), F.pad(keys, missing), values)
        q, k, v = (t.transpose(1, 2)[:, None].contiguous() for t in vectors)
        found = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]  # (B, HW, C/2)
        return x + self.gamma * self.o(found.transpose(1, 2).unflatten(2, x.shape[2:]))


class StoredStatistics(nn.Module):
    """Batch normalisation without gain and bias of its own; they are given.

    In training mode by the batch's statistics, which are remembered; in evaluation mode by those.
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(num_feat))
        self.register_buffer("stored_var", torch.ones(num_feat))

    def normalised(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return F.batch_norm(
            x, self.stored_mean, self.stored_var, gain, bias, training=self.training, eps=BN_EPS
        )


class BatchNorm(StoredStatistics):
    """Batch normalisation with one gain and bias per channel."""

    def __init__(self, num_feat: int) -> None:
        super().__init__(num_feat)
        self.gain = nn.Parameter(torch.ones(num_feat))
        self.bias = nn.Parameter(torch.zeros(num_feat))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised(x, self.gain, self.bias)


class ConditionalBatchNorm(StoredStatistics):
    """Batch normalisation whose gain and bias come from a condition: 1 + gain(y) and bias(y).

    Args:
        num_feat: channels.
        num_condition: numbers of the condition.
    """

    def __init__(self, num_feat: int, num_condition: int) -> None:
        super().__init__(num_feat)
        self.gain = SNLinear(num_condition, num_feat, bias=False)
        self.bias = SNLinear(num_condition, num_feat, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Args: x: (B, C, H, W); y: (B, num_condition)."""
        gain, bias = 1 + self.gain(y), self.bias(y)
        return torch.addcmul(bias[..., None, None], self.normalised(x), gain[..., None, None])


class GeneratorBlock(nn.Module):
    """Doubles a map's sides: two normalised, activated convolutions beside a 1x1 one."""

    def __init__(self, num_in: int, num_out: int, num_condition: int) -> None:
        super().__init__()
        self.conv1 = SNConv2d(num_in, num_out, 3)
        self.conv2 = SNConv2d(num_out, num_out, 3)
        self.conv_sc = SNConv2d(num_in, num_out, 1)
        self.bn1 = ConditionalBatchNorm(num_in, num_condition)
        self.bn2 = ConditionalBatchNorm(num_out, num_condition)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.conv1(_doubled(F.relu(self.bn1(x, y))))
        features = self.conv2(F.relu(self.bn2(features, y)))
        return features + _doubled(self.conv_sc(x))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class DiscriminatorBlock(nn.Module):
    """Two activated convolutions, halved by averaging, beside what came in; the first block has no activation
    before.

    Args:
        num_in, num_out: channels.
        halves: whether the map's sides are halved; else both widths must be equal.
        first: whether it sees the picture itself.
    """

    def __init__(self, num_in: int, num_out: int, *, halves: bool, first: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = first
        self.conv1 = SNConv2d(num_in, num_out, 3)
        self.conv2 = SNConv2d(num_out, num_out, 3)
        if halves:
            self.conv_sc = SNConv2d(num_in, num_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if not self.halves:
            return features + x
        # The 1x1 convolution comes after averaging, with which it commutes.
        return F.avg_pool2d(features, 2) + self.conv_sc(F.avg_pool2d(x, 2))


def check_resolution(resolution: int, num_feat: int) -> None:
    """Raises OptionsError where there is no such network."""
    if resolution not in WIDTHS:
        raise OptionsError(f"resolution {resolution} is not supported by BigGAN: use 128 or 256")
    if num_feat < 8 or num_feat % 8:
        raise OptionsError(f"num_feat {num_feat} is not a multiple of 8")


@records_arguments
class BigGANGenerator(nn.Module):
    """Makes a picture from a latent vector, a share of which enters at each resolution, and a class.

    Args:
        resolution: side of the pictures in px, 128 or 256.
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
        """Makes pictures.

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
    """Judges a picture by one number, and tells what it saw on the way.

    Args:
        resolution: side of the pictures in px, 128 or 256.
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
        """What a generative prior compares pictures by.

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
        """Judges pictures.

        Args:
            x: RGB in [0, 1], (B, 3, resolution, resolution).
            classes: their numbers, (B,); left out, the pictures are judged without regard to a class.

        Returns:
            Logits of "real", (B, 1).
        """
        pooled = self.features(x)[-1]
        logits = self.linear(pooled)
        if classes is None:
            return logits
        return logits + (self.embed(classes) * pooled).sum(1, keepdim=True)


def _resolution_of(state_dict: StateDict, blocks_more: int) -> int | None:
    """The resolution with so many blocks, which are `blocks_more` than the widths have steps."""
    steps = {len(widths) - 1 + blocks_more: resolution for resolution, widths in WIDTHS.items()}
    return steps.get(count_indices(state_dict, "blocks"))


def infer_generator(state_dict: StateDict) -> dict[str, Any] | None:
    resolution = _resolution_of(state_dict, 0)
    needed = ("shared.weight", "linear.u0", "blocks.0.0.bn1.gain.weight", "output_layer.0.stored_mean")
    if resolution is None or any(key not in state_dict for key in needed):
        return None
    if (
        not has_convolutions(state_dict, ["blocks.0.0.conv1.weight"])
        or state_dict["shared.weight"].dim() != 2
    ):
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
    if resolution is None or any(
        key not in state_dict for key in ("embed.weight", "linear.u0", "blocks.0.0.conv1.u0")
    ):
        return None
    if not has_convolutions(state_dict, ["blocks.0.0.conv1.weight"]):
        return None
    return {
        "resolution": resolution,
        "num_feat": state_dict["blocks.0.0.conv1.weight"].shape[0],
        "num_class": state_dict["embed.weight"].shape[0],
    }


_SIZES = {"128": (128, 96, 20), "256": (256, 96, 17), "256_ch64": (256, 64, 17)}
"""By name: resolution, width multiplier, latent numbers at each resolution."""

GENERATOR_SPEC = ARCHS.register(
    ArchSpec(
        name="BigGANGenerator",
        cls=BigGANGenerator,
        role="generator",
        task="image-generation",
        title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        paper="https://arxiv.org/abs/1809.11096",
        reference="https://github.com/ajbrock/BigGAN-PyTorch",
        licence="MIT",
        scales=(),
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
        radius=lambda args: args["resolution"],
        infer=infer_generator,
    )
)

DISCRIMINATOR_SPEC = ARCHS.register(
    ArchSpec(
        name="BigGANDiscriminator",
        cls=BigGANDiscriminator,
        role="discriminator",
        task="image-generation",
        title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        paper="https://arxiv.org/abs/1809.11096",
        reference="https://github.com/ajbrock/BigGAN-PyTorch",
        licence="MIT",
        scales=(),
        presets={
            **{
                f"biggan_discriminator_{name}": {"resolution": side, "num_feat": width}
                for name, (side, width, _) in _SIZES.items()
            },
            "biggan_discriminator_tiny": {"resolution": 128, "num_feat": 8, "num_class": 3},
        },
        radius=lambda args: args["resolution"],
        infer=infer_discriminator,
    )
)
