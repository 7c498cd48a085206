"""Learning Enriched Features for Real Image Restoration and Enhancement, Zamir et al., ECCV 2020.

Paper: https://arxiv.org/abs/2003.06792
Reference: https://github.com/swz30/MIRNet (Academic Public License, non-commercial; ours is written anew)
Differs from the reference: shared modules have one owner and one name, so that a state dict has no aliases;
sides that are not a multiple of 4 are padded and the result is cropped; the blur kernel is not stored;
streams are pooled and fused one after another, never stacked; the 1x1 convolution runs before the bilinear
upsampling, with which it commutes. 31,787,419 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import CheckpointError, OptionsError
from hfsr.registry import ARCHS

from ._blur import BlurPool
from ._layers import count_indices, has_convolutions, rename_keys
from ._luma import supports_one_channel
from ._padding import pad_to_multiple
from ._spec import ArchSpec, StateDict, records_arguments

__all__ = ["SPEC", "MIRNet"]

STREAMS = 3
"""Number of streams: a block works at sizes 1, 1/2 and 1/4, twice as wide with each halving."""
SIZE_MULTIPLE = 2 ** (STREAMS - 1)


def conv1x1(num_in: int, num_out: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 1, bias=False)


def conv3x3(num_in: int, num_out: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)


class SKFF(nn.Module):
    """Selective kernel feature fusion: a weighted sum of streams, with weights for each channel.

    Args:
        num_feat: channels of each stream.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        squeezed = max(num_feat // 8, 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(conv1x1(num_feat, squeezed), nn.PReLU())
        self.fcs = nn.ModuleList(conv1x1(squeezed, num_feat) for _ in range(STREAMS))

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Args: streams: (B, C, H, W) each. Returns: their weighted sum, (B, C, H, W)."""
        means = self.pool(streams[0])
        for stream in streams[1:]:
            means = means + self.pool(stream)
        squeezed = self.conv_du(means)
        weights = torch.stack([fc(squeezed) for fc in self.fcs], 1).softmax(1)  # (B, STREAMS, C, 1, 1)
        fused = streams[0] * weights[:, 0]
        for i, stream in enumerate(streams[1:], start=1):
            fused = torch.addcmul(fused, stream, weights[:, i])
        return fused


class DAU(nn.Module):
    """Dual attention unit: two convolutions, spatial and channel attention, added to the input.

    Args:
        num_feat: channels.
        own_activation: True if it has a PReLU of its own; otherwise `forward` takes the shared one.
    """

    def __init__(self, num_feat: int, *, own_activation: bool) -> None:
        super().__init__()
        squeezed = num_feat // 8
        self.conv1 = conv3x3(num_feat, num_feat)
        if own_activation:
            self.activation = nn.PReLU()
        self.conv2 = conv3x3(num_feat, num_feat)
        self.spatial = nn.Conv2d(2, 1, 5, padding=2, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            conv1x1(num_feat, squeezed), nn.ReLU(inplace=True), conv1x1(squeezed, num_feat), nn.Sigmoid()
        )
        self.conv1x1 = conv1x1(2 * num_feat, num_feat)

    def forward(self, x: Tensor, shared: nn.PReLU | None) -> Tensor:
        """Args: x: (B, C, H, W); shared: the activation, None if it has its own. Returns: (B, C, H, W)."""
        activation = self.activation if shared is None else shared
        features = self.conv2(activation(self.conv1(x)))
        extremes = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        by_px = features * torch.sigmoid(self.spatial(extremes))
        by_channel = features * self.gate(self.pool(features))
        return x + self.conv1x1(torch.cat([by_px, by_channel], 1))


class Down(nn.Module):
    """Halves a feature map and doubles its channels, with blur against aliasing; two paths, summed."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            conv1x1(num_feat, num_feat),
            nn.PReLU(),
            conv3x3(num_feat, num_feat),
            nn.PReLU(),
            BlurPool(),
            conv1x1(num_feat, 2 * num_feat),
        )
        self.bot = nn.Sequential(BlurPool(), conv1x1(num_feat, 2 * num_feat))

    def forward(self, x: Tensor) -> Tensor:
        return self.top(x) + self.bot(x)


class Up(nn.Module):
    """Doubles a feature map's sides and halves its channels; two paths, summed."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            conv1x1(num_feat, num_feat),
            nn.PReLU(),
            nn.ConvTranspose2d(num_feat, num_feat, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(),
            conv1x1(num_feat, num_feat // 2),
        )
        self.bot = nn.Sequential(
            conv1x1(num_feat, num_feat // 2),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.top(x) + self.bot(x)


def down(num_feat: int, times: int) -> nn.Sequential:
    return nn.Sequential(*(Down(num_feat * 2**i) for i in range(times)))


def up(num_feat: int, times: int) -> nn.Sequential:
    return nn.Sequential(*(Up(num_feat // 2**i) for i in range(times)))


class MSRB(nn.Module):
    """Multi-scale residual block: streams at sizes 1, 1/2 and 1/4 that exchange features.

    Each stream passes a DAU, is fused with the other streams, and passes a second DAU. All fusions run before
    any of the second DAUs.

    Args:
        num_feat: width of the largest stream.
        share_dau: True if a stream's two DAUs are one module with the activation that `forward` takes.
    """

    def __init__(self, num_feat: int, *, share_dau: bool) -> None:
        super().__init__()
        widths = [num_feat * 2**i for i in range(STREAMS)]
        self.widths = widths
        self.first = nn.ModuleList(DAU(width, own_activation=not share_dau) for width in widths)
        if not share_dau:
            self.second = nn.ModuleList(DAU(width, own_activation=True) for width in widths)
        pairs = [(small, large) for large in range(STREAMS) for small in range(large)]
        self.down = nn.ModuleDict({f"{widths[i]}_{2 ** (j - i)}": down(widths[i], j - i) for i, j in pairs})
        self.up = nn.ModuleDict({f"{widths[j]}_{2 ** (j - i)}": up(widths[j], j - i) for i, j in pairs})
        self.selective_kernel = nn.ModuleList(SKFF(width) for width in widths)
        self.last_up = nn.ModuleDict({str(i): up(widths[i], i) for i in range(1, STREAMS)})
        self.conv_out = conv3x3(num_feat, num_feat)

    def resized(self, stream: Tensor, source: int, target: int) -> Tensor:
        """Resizes stream `source` to the size and width of stream `target`."""
        if source == target:
            return stream
        path = self.down if source < target else self.up
        return path[f"{self.widths[source]}_{2 ** abs(target - source)}"](stream)

    def forward(self, x: Tensor, shared: nn.PReLU | None) -> Tensor:
        """Args: x: (B, num_feat, H, W), H and W multiples of 4. Returns: the same shape."""
        streams: list[Tensor] = []
        for i, unit in enumerate(self.first):
            streams.append(unit(self.resized(streams[-1], i - 1, i) if streams else x, shared))
        fused = [
            fuse([self.resized(stream, source, target) for source, stream in enumerate(streams)])
            for target, fuse in enumerate(self.selective_kernel)
        ]
        second = self.second if shared is None else self.first
        streams = [unit(stream, shared) for unit, stream in zip(second, fused, strict=True)]
        full = [streams[0], *(self.last_up[str(i)](streams[i]) for i in range(1, len(streams)))]
        return x + self.conv_out(self.selective_kernel[0](full))


class RRG(nn.Module):
    """Recursive residual group: multi-scale blocks and a convolution, added to the group's input."""

    def __init__(self, num_feat: int, num_msrb: int, *, share_dau: bool) -> None:
        super().__init__()
        self.body = nn.ModuleList(MSRB(num_feat, share_dau=share_dau) for _ in range(num_msrb))
        self.conv = conv3x3(num_feat, num_feat)

    def forward(self, x: Tensor, shared: nn.PReLU | None) -> Tensor:
        features = x
        for block in self.body:
            features = block(features, shared)
        return x + self.conv(features)


@supports_one_channel
@records_arguments
class MIRNet(nn.Module):
    """Groups of multi-scale blocks between two convolutions, added to the image; the size is kept.

    No convolution has a bias.

    Args:
        num_in_ch: channels of the image, in and out.
        num_feat: width of the largest stream, a multiple of 8.
        num_rrg: recursive residual groups.
        num_msrb: multi-scale blocks in each.
        share_dau: True if, as in the authors' code, the two DAUs of a stream are one module and all DAUs of
            the network share one PReLU scalar; with False each has its own (42,239,298 parameters).

    Raises:
        OptionsError: If the width is not a multiple of 8.
    """

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_rrg: int = 3,
        num_msrb: int = 2,
        share_dau: bool = True,
    ) -> None:
        super().__init__()
        if num_feat < 8 or num_feat % 8:
            raise OptionsError(f"num_feat {num_feat} is not a multiple of 8")
        self.scale = 1
        self.activation = nn.PReLU() if share_dau else None
        self.conv_in = conv3x3(num_in_ch, num_feat)
        self.body = nn.ModuleList(RRG(num_feat, num_msrb, share_dau=share_dau) for _ in range(num_rrg))
        self.conv_out = conv3x3(num_feat, num_in_ch)

    def core(self, x: Tensor) -> Tensor:
        features = self.conv_in(x)
        for group in self.body:
            features = group(features, self.activation)
        return x + self.conv_out(features)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H, W)."""
        height, width = x.shape[-2:]
        return self.core(pad_to_multiple(x, SIZE_MULTIPLE))[..., :height, :width]


def infer(state_dict: StateDict) -> dict[str, Any] | None:
    block = "body.0.body.0"
    needed = ("conv_in.weight", f"{block}.first.0.spatial.weight", f"{block}.conv_out.weight")
    if not has_convolutions(state_dict, (*needed, "body.0.conv.weight", "conv_out.weight")):
        return None
    num_feat, num_in_ch = state_dict["conv_in.weight"].shape[:2]
    return {
        "num_in_ch": num_in_ch,
        "num_feat": num_feat,
        "num_rrg": count_indices(state_dict, "body"),
        "num_msrb": count_indices(state_dict, "body.0.body"),
        "share_dau": "activation.weight" in state_dict,
    }


def rename(state_dict: StateDict) -> StateDict:
    """Renames the official layout, which stores shared modules once for every place where they are used.

    If the copies differ, the network was trained without sharing, and all of them are kept.

    Raises:
        CheckpointError: If its blur kernels differ from ours.
    """
    if "body.0.body.0.blocks.0.0.SA.spatial.conv.weight" not in state_dict:
        return state_dict
    kernels = [key for key in state_dict if key.endswith(".filt")]
    for key in kernels:
        nominal = BlurPool().filters
        if not torch.allclose(state_dict[key].float(), nominal.expand_as(state_dict[key]), rtol=0, atol=1e-6):
            raise CheckpointError(f"its blur kernel '{key}' is not [1, 2, 1] x [1, 2, 1] / 16; ours is fixed")
    rules = (
        (r"^(body\.\d+)\.body\.\d+\.weight$", r"\1.conv.weight"),
        (r"(\.blocks\.\d+\.\d+)\.body\.0\.", r"\1.conv1."),
        (r"(\.blocks\.\d+\.\d+)\.body\.1\.", r"\1.activation."),
        (r"(\.blocks\.\d+\.\d+)\.body\.2\.", r"\1.conv2."),
        (r"\.SA\.spatial\.conv\.", ".spatial."),
        (r"\.CA\.conv_du\.", ".gate."),
        (r"\.(up\.\w+|last_up\.\d+)\.body\.(\d+)\.bot\.1\.", r".\1.\2.bot.0."),
        (r"\.(down|up|last_up)\.(\w+)\.body\.", r".\1.\2."),
    )
    columns = ((r"\.blocks\.(\d+)\.0\.", r".first.\1."), (r"\.blocks\.(\d+)\.1\.", r".second.\1."))
    stored = {key: tensor for key, tensor in state_dict.items() if key not in kernels}
    return _unaliased(rename_keys(rename_keys(stored, rules), columns))


def _unaliased(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Removes the second names of shared modules, if all modules that can be shared are equal."""
    scalars = {key for key in state_dict if key.endswith(".activation.weight")}
    owners = {key: key.replace(".second.", ".first.") for key in state_dict if ".second." in key}
    owners.update(dict.fromkeys(scalars, "body.0.body.0.first.0.activation.weight"))
    if not all(torch.equal(state_dict[key], state_dict[owner]) for key, owner in owners.items()):
        return state_dict
    scalar = state_dict["body.0.body.0.first.0.activation.weight"]
    return {"activation.weight": scalar, **{k: t for k, t in state_dict.items() if k not in owners}}


SPEC = ARCHS.register(
    ArchSpec(
        name="MIRNet",
        cls=MIRNet,
        task="denoising",
        keeps_flat_images=False,  # enhancement changes the brightness
        title="Learning Enriched Features for Real Image Restoration and Enhancement",
        paper="https://arxiv.org/abs/2003.06792",
        reference="https://github.com/swz30/MIRNet",
        license="Academic Public License (non-commercial)",
        scales=(1,),
        presets={
            "mirnet": {"num_feat": 64, "num_rrg": 3, "num_msrb": 2},
            "mirnet_tiny": {"num_feat": 16, "num_rrg": 1, "num_msrb": 1},
        },
        size_multiple=lambda _: SIZE_MULTIPLE,
        tiling="pooled",
        radius=lambda args: args["num_rrg"] * (args["num_msrb"] * 56 + 1) + 2,
        infer=infer,
        rename=rename,
        notes=("released for denoising, enhancement and RealSR: the tensors do not show the task",),
    )
)
