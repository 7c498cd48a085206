"""Image Super-Resolution with Cross-Scale Non-Local Attention and Exhaustive Self-Exemplars Mining.

Mei et al., CVPR 2020
Paper: https://arxiv.org/abs/2006.01424
Reference: https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention (MIT)
Differs from the reference: the mean is a buffer, not a frozen convolution; images of any size are padded
and cropped; attention runs in blocks; the last convolution takes the estimates one by one; the unused state
after the last estimate is not computed. Parameters: x2 3,061,265, x3 6,010,385, x4 6,568,603. The published
counts are 24 higher: they include the frozen mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError
from hfsr.registry import ARCHS

from ._attention import drop_floor, embedding, full_precision, patch_attention
from ._layers import (
    DIV2K_MEAN,
    MeanShift,
    absorb_mean_layers,
    edsr_family_readings,
    ends_of,
    has_convolutions,
    rename_keys,
)
from ._luma import supports_one_channel
from ._padding import pad_to_multiple
from ._readings import Evidence, Reading
from ._spec import ArchSpec, Arguments, StateDict, records_arguments

__all__ = ["CSNLN", "SPEC"]

SHARPNESS = 10.0
"""Factor of cross-scale scores before the softmax; in-scale scores have none."""
OVERLAP = 6.0
"""Divisor of the sums of overlapping patches; nine overlap, but the released code divides by six."""

_FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}
"""Upsampling factors of a cell's stages, for each scale."""


class InScaleAttention(nn.Module):
    """Replaces every px by the mean of all px, weighted by the softmax of their embeddings' products."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.query = embedding(num_feat, num_feat // 2)
        self.key = embedding(num_feat, num_feat // 2)
        self.value = embedding(num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (_as_rows(part(x)) for part in (self.query, self.key, self.value))
        # PyTorch's fused attention needs the same width for all three; zeros change no product.
        extra = value.shape[-1] - query.shape[-1]
        with full_precision(x.device):
            mean = F.scaled_dot_product_attention(
                F.pad(query, (0, extra)), F.pad(key, (0, extra)), value, scale=1.0
            )
        return mean[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:]).to(x.dtype)


def _as_rows(x: Tensor) -> Tensor:
    """Reshapes a feature map (B, C, H, W) to (B, 1, H*W, C), in single precision at least."""
    rows = x.flatten(2).transpose(1, 2)[:, None].contiguous()
    return rows.to(torch.promote_types(x.dtype, torch.float32))


class CrossScaleAttention(nn.Module):
    """Upsamples a feature map: a larger patch replaces each 3x3 patch that its reduction resembles."""

    def __init__(self, num_feat: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.query = embedding(num_feat, num_feat // 2)
        self.key = embedding(num_feat, num_feat // 2)
        self.value = embedding(num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W), sides multiples of the factor. Returns: (B, C, H*factor, W*factor)."""
        reduced = F.interpolate(x, [side // self.factor for side in x.shape[-2:]], mode="bilinear")
        # With factor x factor px folded into one, a patch three times as large is a 3x3 patch again.
        squares = F.pixel_unshuffle(self.value(x), self.factor)
        pasted = patch_attention(self.query(x), [(self.key(reduced), squares)], sharpness=SHARPNESS)
        return F.pixel_shuffle(pasted, self.factor) / OVERLAP


class PReLUBlock(nn.Module):
    """conv - PReLU - conv, added to the input."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act(self.conv1(x)))


class MultiSourceProjection(nn.Module):
    """Upsamples by in-scale attention and a transposed convolution, corrected by cross-scale attention."""

    def __init__(self, num_feat: int, factor: int) -> None:
        super().__init__()
        self.in_scale = InScaleAttention(num_feat)
        self.enlarge = _enlarging(num_feat, factor)
        self.cross_scale = CrossScaleAttention(num_feat, factor)
        self.encoder = PReLUBlock(num_feat)

    def forward(self, x: Tensor) -> Tensor:
        local = self.enlarge(self.in_scale(x))
        return local + self.encoder(self.cross_scale(x) - local)


class Stage(nn.Module):
    """A projection to a larger size, corrected by the error of its reduction to the cell's input.

    Args:
        num_feat: width.
        factor: upsampling factor of the projection.
        total: size of the result relative to the cell's input.
    """

    def __init__(self, num_feat: int, factor: int, total: int) -> None:
        super().__init__()
        self.project = MultiSourceProjection(num_feat, factor)
        self.down = _reducing(num_feat, total)
        self.up = _enlarging(num_feat, total)

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        """Args: x: feature map to upsample. origin: the cell's input."""
        enlarged = self.project(x)
        return enlarged + self.up(origin - self.down(enlarged))


class SelfExemplarMining(nn.Module):
    """The recurrent cell: an HR estimate from its state, and the next state from the estimate."""

    def __init__(self, num_feat: int, factors: Sequence[int]) -> None:
        super().__init__()
        totals = [factors[0] ** (i + 1) for i in range(len(factors))]
        self.stages = nn.ModuleList(
            Stage(num_feat, f, total) for f, total in zip(factors, totals, strict=True)
        )
        self.down = _reducing(num_feat, totals[-1])
        self.post = nn.Sequential(nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.PReLU())

    def estimate(self, state: Tensor) -> Tensor:
        """Returns the HR estimate of a state."""
        enlarged = state
        for stage in self.stages:
            enlarged = stage(enlarged, state)
        return enlarged

    def next_state(self, estimate: Tensor) -> Tensor:
        """Returns the state after an HR estimate."""
        return self.post(self.down(estimate))


@supports_one_channel
@records_arguments
class CSNLN(nn.Module):
    """One cell, applied repeatedly; the image is reconstructed from all of its estimates.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_recurrence: number of applications of the cell.
        upscale: 2, 3 or 4.
        img_range: range it works in; released weights use 1.
        rgb_mean: mean subtracted before and added after, in [0, 1], one value per channel.

    Raises:
        OptionsError: If the scale or the number of mean values is not supported.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 128,
        num_recurrence: int = 12,
        upscale: int = 4,
        img_range: float = 1.0,
        rgb_mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        if upscale not in _FACTORS:
            raise OptionsError(f"scale {upscale} is not supported by CSNLN: use 2, 3 or 4")
        factors = _FACTORS[upscale]
        self.scale = upscale
        self.size_multiple = factors[0]
        self.num_recurrence = num_recurrence
        self.shift = MeanShift(rgb_mean, img_range, (num_in_ch, num_out_ch))
        self.head = nn.Sequential(
            nn.Sequential(nn.Conv2d(num_in_ch, num_feat, 3, padding=1), nn.PReLU()),
            nn.Sequential(nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.PReLU()),
        )
        self.cell = SelfExemplarMining(num_feat, factors)
        self.conv_last = nn.Conv2d(num_feat * num_recurrence, num_out_ch, 3, padding=1)

    def core(self, x: Tensor) -> Tensor:
        state = self.head(self.shift(x))
        estimate = self.cell.estimate(state)
        # The last convolution sees all estimates concatenated; adding one by one avoids storing all of them.
        weights = self.conv_last.weight.chunk(self.num_recurrence, 1)
        image = F.conv2d(estimate, weights[0], self.conv_last.bias, padding=1)
        for i in range(1, self.num_recurrence):
            estimate = self.cell.estimate(self.cell.next_state(estimate))
            image = image + F.conv2d(estimate, weights[i], padding=1)
        return self.shift.inverse(image)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.size_multiple)
        return self.core(padded)[..., : height * self.scale, : width * self.scale]


def _geometry(factor: int) -> tuple[int, int, int]:
    """Kernel, stride and padding that change the sides by exactly `factor`, as released."""
    kernel, padding = {2: (6, 2), 3: (9, 3), 4: (8, 2)}[factor]
    return kernel, factor, padding


def _enlarging(num_feat: int, factor: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(num_feat, num_feat, *_geometry(factor)), nn.PReLU())


def _reducing(num_feat: int, factor: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(num_feat, num_feat, *_geometry(factor)), nn.PReLU())


_OFFICIAL = "SEM.multi_source_projection.up_attention.conv_assembly.0.weight"
"""A key of the authors' layout."""


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    down, query = "cell.stages.0.down.0.weight", "cell.stages.0.project.cross_scale.query.0.weight"
    if not has_convolutions(state_dict, ("head.0.0.weight", down, query, "conv_last.weight")):
        return None
    ends = ends_of(state_dict, first="head.0.0")
    return {
        **ends,
        "num_recurrence": state_dict["conv_last.weight"].shape[1] // ends["num_feat"],
        "upscale": 4 if "cell.stages.1.down.0.weight" in state_dict else state_dict[down].shape[-1] // 3,
    }


def readings(state_dict: StateDict, arguments: Arguments, evidence: Evidence) -> list[Reading]:
    return edsr_family_readings(
        state_dict, official=_OFFICIAL, channels=arguments["num_in_ch"], img_range=1.0
    )


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout (SEM.*, tail.0) and absorbs its mean layers."""
    if _OFFICIAL not in state_dict:
        return state_dict
    renamed = drop_floor(state_dict)
    for rules in (
        (
            (r"^SEM\.multi_source_projection\.", "cell.stages.0.project."),
            (r"^SEM\.multi_source_projection_2\.", "cell.stages.1.project."),
            (r"^SEM\.down_sample_1\.", "cell.stages.0.down."),
            (r"^SEM\.error_encode\.", "cell.stages.0.up."),
            (r"^SEM\.down_sample_3\.", "cell.stages.1.down."),
            (r"^SEM\.error_encode_2\.", "cell.stages.1.up."),
            (r"^SEM\.down_sample_[24]\.", "cell.down."),
            (r"^SEM\.post_conv\.", "cell.post."),
            (r"^tail\.0\.", "conv_last."),
        ),
        (
            (r"\.down_attention\.", ".in_scale."),
            (r"\.up_attention\.", ".cross_scale."),
            (r"\.upsample\.", ".enlarge."),
            (r"\.encoder\.body\.0\.", ".encoder.conv1."),
            (r"\.encoder\.body\.1\.", ".encoder.act."),
            (r"\.encoder\.body\.2\.", ".encoder.conv2."),
        ),
        (
            (r"\.conv_match_?1\.", ".query."),
            (r"\.conv_match_?2\.", ".key."),
            (r"\.conv_assembly\.", ".value."),
        ),
    ):
        renamed = rename_keys(renamed, rules)
    return absorb_mean_layers(renamed, first="head.0.0")


_SIZE = {"num_feat": 128, "num_recurrence": 12}

SPEC = ARCHS.register(
    ArchSpec(
        name="CSNLN",
        cls=CSNLN,
        title=(
            "Image Super-Resolution with Cross-Scale Non-Local Attention and Exhaustive Self-Exemplars Mining"
        ),
        paper="https://arxiv.org/abs/2006.01424",
        reference="https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention",
        license="MIT",
        scales=(2, 3, 4),
        presets={
            **{f"csnln_x{s}": {**_SIZE, "upscale": s} for s in (2, 3, 4)},
            "csnln_tiny": {"num_feat": 8, "num_recurrence": 2, "upscale": 2},
        },
        size_multiple=lambda args: _FACTORS[args["upscale"]][0],
        # Rounding the features changes which patches win the sharp softmax, in each of twelve passes. Four
        # passes, after a few hundred steps, are 55 dB from float32; released weights were not measured.
        bf16=False,
        tiling="windowed",
        window=60,  # the authors cut images into tiles of at most 3600 px
        radius=lambda args: (8 if args["upscale"] == 4 else 6) * args["num_recurrence"] + 1,
        infer=infer,
        rename=rename,
        readings=readings,
    )
)
