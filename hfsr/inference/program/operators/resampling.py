"""Operators that move px: interpolation, shuffling, trimming, enlargement by real numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from hfsr.archs import PositionalEnlargement

from ..geometry import Enlarge, Interpolate, Project, Reduce, Region
from .base import MapOperator, Workspace, cropped, margins

__all__ = ["Positional", "Resampling", "Trimming", "Unshuffle"]


class Resampling(MapOperator):
    """Pixel shuffle, and nearest, bilinear or bicubic interpolation.

    Interpolating a part of a map clamps or mirrors at the part's edges; the rule asks for so many px that
    this does not reach the result, except at the true border, where it happens to the whole image as well.
    """

    def __init__(
        self,
        node: fx.Node,
        sources: list[fx.Node],
        *,
        rule: Enlarge | Interpolate,
        function: Callable[[Tensor], Tensor],
        channel_ratio: int = 1,
    ) -> None:
        super().__init__(node, sources, (rule, rule))
        self.function = function
        self.channel_ratio = channel_ratio

    def channels(self, sources: list[int]) -> int:
        return sources[0] // self.channel_ratio

    def run(self, region: Region, work: Workspace) -> Tensor:
        source = self.sources[0]
        inside = self.needs(region).clipped(work.size(source))
        y = self.function(work.patch(source, inside))
        top = region.top - self.rows.size(inside.top)
        left = region.left - self.columns.size(inside.left)
        return cropped(y, top, left, region).to(self.dtype)


class Trimming(MapOperator):
    """Cuts rows off the top and bottom of a map and columns off its sides."""

    def run(self, region: Region, work: Workspace) -> Tensor:
        return work.patch(self.sources[0], self.needs(region)).to(self.dtype)


class Positional(MapOperator):
    """Enlargement by a real number, which is told the absolute place of the part it computes; in float32."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], module: PositionalEnlargement) -> None:
        axis = Project(module.scale, module.margin)
        super().__init__(node, sources, (axis, axis))
        self.module = module

    def channels(self, sources: list[int]) -> int:
        return self.module.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * channels * self.module.in_channels * (2 * self.module.margin + 1) ** 2

    def prepare(self, device: torch.device) -> None:
        self.module = copy.deepcopy(self.module).to(device=device, dtype=torch.float32)

    def run(self, region: Region, work: Workspace) -> Tensor:
        source, need = self.sources[0], self.needs(region)
        inside = need.clipped(work.size(source))
        x = F.pad(work.patch(source, inside).float(), margins(need, inside))
        rows, columns = (region.top, region.bottom), (region.left, region.right)
        return self.module.part(x, rows, columns, self.module.scale).to(self.dtype)


class Unshuffle(MapOperator):
    """nn.PixelUnshuffle: space to depth."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], factor: int) -> None:
        super().__init__(node, sources, (Reduce(factor), Reduce(factor)))
        self.factor = factor

    def channels(self, sources: list[int]) -> int:
        return sources[0] * self.factor**2

    def run(self, region: Region, work: Workspace) -> Tensor:
        return F.pixel_unshuffle(work.patch(self.sources[0], self.needs(region)), self.factor).to(self.dtype)
