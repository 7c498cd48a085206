"""Operators that change the grid: interpolation, pixel shuffle, cropping, upsampling by real numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from hfsr.archs import Enlargement, PositionalEnlargement

from ..geometry import InterpolateAxis, RealScaleAxis, Region, Size, UnshuffleAxis, UpscaleAxis
from .base import Operator, OperatorInputs, crop, margins

__all__ = ["Crop", "PixelUnshuffle", "PositionalUpsampling", "Resampling"]


class Resampling(Operator):
    """Pixel shuffle, and nearest, bilinear or bicubic interpolation.

    Interpolating a part of a feature map clamps or mirrors at the edges of the part. The geometry reads
    enough px that this does not reach the result, except at the border of the whole map, where it is correct.
    """

    def __init__(
        self,
        node: fx.Node,
        sources: list[fx.Node],
        *,
        axis: UpscaleAxis | InterpolateAxis,
        function: Callable[[Tensor], Tensor],
        channel_ratio: int = 1,
    ) -> None:
        super().__init__(node, sources, (axis, axis))
        self.function = function
        self.channel_ratio = channel_ratio

    def workspace_bytes(self, size: Size, channels: int) -> int:
        if not isinstance(self.function, Enlargement):
            return 0
        # An enlargement filters rows and columns one after another, in float32.
        return 2 * size.height * size.width * channels * torch.float32.itemsize

    def channels(self, sources: list[int]) -> int:
        return sources[0] // self.channel_ratio

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        source = self.sources[0]
        inside = self.input_region(region).clip(inputs.size(source))
        y = self.function(inputs.feature(source, inside))
        top = region.top - self.rows.size(inside.top)
        left = region.left - self.columns.size(inside.left)
        return crop(y, top, left, region).to(self.dtype)


class Crop(Operator):
    """Removal of rows at the top and bottom of a feature map and of columns at its sides."""

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        return inputs.feature(self.sources[0], self.input_region(region)).to(self.dtype)


class PositionalUpsampling(Operator):
    """Upsampling by a real number; receives the absolute position of the region. Runs in float32."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], module: PositionalEnlargement) -> None:
        axis = RealScaleAxis(module.scale, module.margin)
        super().__init__(node, sources, (axis, axis))
        self.module = module

    def channels(self, sources: list[int]) -> int:
        return self.module.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * channels * self.module.in_channels * (2 * self.module.margin + 1) ** 2

    def workspace_bytes(self, size: Size, channels: int) -> int:
        return self.module.workspace_bytes(size.height, size.width)

    def _load_weights(self, device: torch.device) -> None:
        self.module = copy.deepcopy(self.module).to(device=device, dtype=torch.float32)

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        source, need = self.sources[0], self.input_region(region)
        inside = need.clip(inputs.size(source))
        x = F.pad(inputs.feature(source, inside).float(), margins(need, inside))
        rows, columns = (region.top, region.bottom), (region.left, region.right)
        return self.module.part(x, rows, columns, self.module.scale).to(self.dtype)


class PixelUnshuffle(Operator):
    """nn.PixelUnshuffle: space to depth."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], factor: int) -> None:
        super().__init__(node, sources, (UnshuffleAxis(factor), UnshuffleAxis(factor)))
        self.factor = factor

    def channels(self, sources: list[int]) -> int:
        return sources[0] * self.factor**2

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        x = inputs.feature(self.sources[0], self.input_region(region))
        return F.pixel_unshuffle(x, self.factor).to(self.dtype)
