"""What each operator of a network's graph does to a piece of a map.

An operator knows three things: which input region an output region needs (its geometry), how many channels
and multiply-adds it has, and how to compute exactly that output region from a `Workspace`. Zero padding is
applied only where a region touches the true border of its map, so a piece equals the same part of the whole-
image result.

To teach the planner a new operator, add a class here and one line to a table of `rules`.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hfsr.archs import BlurPool, PositionalEnlargement, QuantisedConv2d
from hfsr.errors import PlanError

from .regions import AxisRule, Enlarge, Interpolate, Project, Reduce, Region, Size, Spread, Window

__all__ = [
    "OVER_CHANNELS",
    "Blur",
    "Convolution",
    "MapOperator",
    "Pointwise",
    "Positional",
    "Resampling",
    "TransposedConvolution",
    "Trimming",
    "Unshuffle",
    "Workspace",
]

POINTWISE = (Enlarge(), Enlarge())


class Workspace(Protocol):
    """What an operator may ask for while it computes one piece."""

    def patch(self, node: fx.Node, region: Region) -> Tensor:
        """This part of a map, (B, C, region.height, region.width)."""

    def value(self, node: fx.Node) -> Tensor:
        """A constant, or a vector made from pooled statistics."""

    def size(self, node: fx.Node) -> Size:
        """Size of a whole map."""


class MapOperator:
    """One node that produces a map.

    Attributes:
        node: its place in the graph.
        sources: the maps it reads.
        rows, columns: its geometry.
        compute: dtype it computes in (None: that of its inputs).
        dtype: dtype of what it returns.
        overwrites: the source whose memory it may reuse for its result.
    """

    def __init__(
        self, node: fx.Node, sources: list[fx.Node], axes: tuple[AxisRule, AxisRule] = POINTWISE
    ) -> None:
        self.node = node
        self.sources = sources
        self.rows, self.columns = axes
        self.compute: torch.dtype | None = None
        self.dtype = torch.float32
        self.overwrites: fx.Node | None = None

    def size(self, source: Size) -> Size:
        return Size(self.rows.size(source.height), self.columns.size(source.width))

    def needs(self, region: Region) -> Region:
        """The input region that `region` of the output depends on, before clipping."""
        return Region(
            *self.rows.needs(region.top, region.bottom), *self.columns.needs(region.left, region.right)
        )

    def channels(self, sources: list[int]) -> int:
        return max(sources)

    def cost(self, channels: int) -> float:
        """Floating-point operations per output px."""
        return float(channels)

    def prepare(self, device: torch.device) -> None:
        """Makes the weights ready in `compute` dtype on `device`, once."""

    def run(self, region: Region, work: Workspace) -> Tensor:
        """Computes exactly `region` of the output."""
        raise PlanError(f"operator {type(self).__name__} cannot run")

    def run_into(self, region: Region, work: Workspace, out: Tensor) -> None:
        """Computes exactly `region` of the output into `out`."""
        out.copy_(self.run(region, work))


class Convolution(MapOperator):
    """nn.Conv2d with zero padding."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], conv: nn.Conv2d | QuantisedConv2d) -> None:
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise PlanError(
                f"'{node.name}': only convolutions with a numeric zero padding can be cut in pieces"
            )
        self.conv = conv
        self.padding = (int(conv.padding[0]), int(conv.padding[1]))
        rows, columns = (
            Window(conv.kernel_size[i], conv.stride[i], self.padding[i], conv.dilation[i]) for i in (0, 1)
        )
        super().__init__(node, sources, (rows, columns))

    def channels(self, sources: list[int]) -> int:
        return self.conv.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * self.conv.weight[0].numel() * channels

    def prepare(self, device: torch.device) -> None:
        self.weight, self.bias = _weights(self.conv, device, self.compute)

    def rounded(self, x: Tensor) -> Tensor:
        """The input as it is multiplied."""
        if isinstance(self.conv, QuantisedConv2d):
            x = self.conv.rounded(x)
        return x.to(self.weight.dtype)

    def run(self, region: Region, work: Workspace) -> Tensor:
        source, conv = self.sources[0], self.conv
        need = self.needs(region)
        inside = need.clipped(work.size(source))
        x = self.rounded(work.patch(source, inside))
        if inside != need and max(conv.stride) > 1:
            x = F.pad(x, _margins(need, inside))
            inside = need
        # Padding both ends of an axis and cropping the surplus costs a row of arithmetic, not a copy of the
        # map.
        pad_rows = self.padding[0] if (inside.top, inside.bottom) != (need.top, need.bottom) else 0
        pad_columns = self.padding[1] if (inside.left, inside.right) != (need.left, need.right) else 0
        y = F.conv2d(
            x, self.weight, self.bias, conv.stride, (pad_rows, pad_columns), conv.dilation, conv.groups
        )
        top = region.top - inside.top if pad_rows else 0
        left = region.left - inside.left if pad_columns else 0
        return _crop(y, top, left, region).to(self.dtype)


class Blur(MapOperator):
    """A blur that keeps every second px, of a map that is reflected at its border."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], module: BlurPool) -> None:
        axis = Window(kernel=3, stride=2, padding=1)
        super().__init__(node, sources, (axis, axis))
        self.module = module

    def cost(self, channels: int) -> float:
        return 2.0 * 9 * channels

    def run(self, region: Region, work: Workspace) -> Tensor:
        source, need = self.sources[0], self.needs(region)
        inside = need.clipped(work.size(source))
        # The px that is reflected into a margin lies in the window that reaches out there.
        x = F.pad(work.patch(source, inside), _margins(need, inside), mode="reflect")
        return self.module.reduce(x).to(self.dtype)


class TransposedConvolution(MapOperator):
    """nn.ConvTranspose2d; `output_padding` up to `padding`, so that every output px lies under the kernel."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], conv: nn.ConvTranspose2d) -> None:
        padding = [int(p) for p in conv.padding]
        extra = [int(p) for p in conv.output_padding]
        if max(conv.dilation) > 1 or any(e > p for e, p in zip(extra, padding, strict=True)):
            raise PlanError(
                f"'{node.name}': a dilated or over-padded transposed convolution cannot be cut in pieces"
            )
        self.conv = conv
        rows, columns = (Spread(conv.kernel_size[i], conv.stride[i], padding[i], extra[i]) for i in (0, 1))
        self.offsets = padding
        super().__init__(node, sources, (rows, columns))

    def channels(self, sources: list[int]) -> int:
        return self.conv.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * self.conv.weight[:, 0].numel() * channels / (self.conv.stride[0] * self.conv.stride[1])

    def prepare(self, device: torch.device) -> None:
        self.weight, self.bias = _weights(self.conv, device, self.compute)

    def run(self, region: Region, work: Workspace) -> Tensor:
        source, conv = self.sources[0], self.conv
        inside = self.needs(region).clipped(work.size(source))
        x = work.patch(source, inside).to(self.weight.dtype)
        y = F.conv_transpose2d(x, self.weight, self.bias, conv.stride, groups=conv.groups)
        top = region.top - (inside.top * conv.stride[0] - self.offsets[0])
        left = region.left - (inside.left * conv.stride[1] - self.offsets[1])
        return _crop(y, top, left, region).to(self.dtype)


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
        return _crop(y, top, left, region).to(self.dtype)


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
        x = F.pad(work.patch(source, inside).float(), _margins(need, inside))
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


class Pointwise(MapOperator):
    """Anything that treats every px by itself: activations, arithmetic, concatenation, channel slices."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], function: Callable[..., Any]) -> None:
        super().__init__(node, sources)
        self.function = function

    def channels(self, sources: list[int]) -> int:
        if self.node.target is torch.cat:
            return sum(sources)
        if self.node.target is operator.getitem:
            channels: Any = self.node.args[1]
            return len(range(sources[0])[channels[1]])
        if self.node.target in OVER_CHANNELS:
            return 1
        return max(sources)

    def prepare(self, device: torch.device) -> None:
        if isinstance(self.function, nn.Module):
            self.function = copy.deepcopy(self.function).to(device=device, dtype=self.compute)

    def run_into(self, region: Region, work: Workspace, out: Tensor) -> None:
        write = _OUT_VARIANTS.get(self.node.target)
        if isinstance(self.function, nn.ReLU):
            torch.clamp_min(self._load(self.sources[0], region, work), 0, out=out)
        elif write is None:
            super().run_into(region, work, out)
        else:
            args = fx.node.map_arg(self.node.args, lambda node: self._load(node, region, work))
            write(*args, **self.node.kwargs, out=out)

    def _load(self, node: fx.Node, region: Region, work: Workspace) -> Tensor:
        value = work.patch(node, region) if node in self.sources else work.value(node)
        return value if self.compute is None else value.to(self.compute)

    def run(self, region: Region, work: Workspace) -> Tensor:
        def load(node: fx.Node) -> Tensor:
            return self._load(node, region, work)

        if self.overwrites is not None and self.node.target in _IN_PLACE:
            target = load(self.overwrites)
            others = [
                load(a) if isinstance(a, fx.Node) else a for a in self.node.args if a is not self.overwrites
            ]
            return _IN_PLACE[self.node.target](target, *others)
        if self.overwrites is not None and isinstance(self.function, (nn.ReLU, nn.LeakyReLU)):
            slope = getattr(self.function, "negative_slope", 0.0)
            return F.leaky_relu_(load(self.overwrites), slope) if slope else load(self.overwrites).relu_()
        args = fx.node.map_arg(self.node.args, load)
        kwargs = fx.node.map_arg(self.node.kwargs, load)
        return self.function(*args, **kwargs)


_IN_PLACE: dict[Any, Callable[..., Tensor]] = {
    operator.add: Tensor.add_,
    torch.relu: Tensor.relu_,
    F.relu: Tensor.relu_,
    torch.sigmoid: Tensor.sigmoid_,
}
"""Functions whose result may take the place of one input."""

_OUT_VARIANTS: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    operator.mul: torch.mul,
    operator.sub: torch.sub,
    torch.cat: torch.cat,
    torch.addcmul: torch.addcmul,
}
"""Functions that can put their result straight where it is kept."""


OVER_CHANNELS = (torch.amax, torch.amin, torch.mean, "amax", "amin", "mean")
"""Functions that make one channel of all channels."""


def _weights(
    conv: nn.Conv2d | nn.ConvTranspose2d | QuantisedConv2d, device: torch.device, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    values = conv.dequantised() if isinstance(conv, QuantisedConv2d) else conv.weight.detach()
    weight = values.to(device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return weight, None if conv.bias is None else conv.bias.detach().to(device=device, dtype=dtype)


def _margins(need: Region, inside: Region) -> tuple[int, int, int, int]:
    """Left, right, top and bottom px by which `need` reaches out of the map."""
    return (
        inside.left - need.left,
        need.right - inside.right,
        inside.top - need.top,
        need.bottom - inside.bottom,
    )


def _crop(y: Tensor, top: int, left: int, region: Region) -> Tensor:
    if y.shape[-2:] == (region.height, region.width):
        return y
    return y[..., top : top + region.height, left : left + region.width]
