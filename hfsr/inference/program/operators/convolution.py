"""Convolutions: plain, transposed, and blur with stride 2."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hfsr.archs import BlurPool, QuantizedConv2d
from hfsr.errors import PlanError

from ..geometry import Region, Size, TransposedAxis, WindowAxis
from .base import Operator, OperatorInputs, crop, margins

__all__ = ["Blur", "Convolution", "TransposedConvolution"]


class Convolution(Operator):
    """nn.Conv2d with zero padding."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], conv: nn.Conv2d | QuantizedConv2d) -> None:
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise PlanError(f"'{node.name}': only convolutions with a numeric zero padding can be tiled")
        self.conv = conv
        self.padding = (int(conv.padding[0]), int(conv.padding[1]))
        rows, columns = (
            WindowAxis(conv.kernel_size[i], conv.stride[i], self.padding[i], conv.dilation[i]) for i in (0, 1)
        )
        super().__init__(node, sources, (rows, columns))

    def channels(self, sources: list[int]) -> int:
        return self.conv.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * self.conv.weight[0].numel() * channels

    def workspace_bytes(self, size: Size, channels: int) -> int:
        if not isinstance(self.conv, QuantizedConv2d):
            return 0
        need = self.input_region(Region(0, size.height, 0, size.width))
        return need.area * self.conv.in_channels * torch.float32.itemsize  # the rounded input

    def _load_weights(self, device: torch.device) -> None:
        self.weight, self.bias = _weights(self.conv, device, self.compute_dtype)

    def cast_input(self, x: Tensor) -> Tensor:
        """Casts the input to the compute dtype, or rounds it to the quantization levels."""
        if isinstance(self.conv, QuantizedConv2d):
            x = self.conv.rounded(x)
        return x.to(self.weight.dtype)

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        source, conv = self.sources[0], self.conv
        need = self.input_region(region)
        inside = need.clip(inputs.size(source))
        x = self.cast_input(inputs.feature(source, inside))
        if inside != need and max(conv.stride) > 1:
            x = F.pad(x, margins(need, inside))
            inside = need
        # Padding both ends of an axis and cropping the surplus costs a row of arithmetic instead of a copy of
        # the feature map.
        pad_rows = self.padding[0] if (inside.top, inside.bottom) != (need.top, need.bottom) else 0
        pad_columns = self.padding[1] if (inside.left, inside.right) != (need.left, need.right) else 0
        y = F.conv2d(
            x, self.weight, self.bias, conv.stride, (pad_rows, pad_columns), conv.dilation, conv.groups
        )
        top = region.top - inside.top if pad_rows else 0
        left = region.left - inside.left if pad_columns else 0
        return crop(y, top, left, region).to(self.dtype)


class TransposedConvolution(Operator):
    """nn.ConvTranspose2d; `output_padding` up to `padding`, so that every output px lies under the kernel."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], conv: nn.ConvTranspose2d) -> None:
        padding = [int(p) for p in conv.padding]
        extra = [int(p) for p in conv.output_padding]
        if max(conv.dilation) > 1 or any(e > p for e, p in zip(extra, padding, strict=True)):
            raise PlanError(f"'{node.name}': a dilated or over-padded transposed convolution cannot be tiled")
        self.conv = conv
        rows, columns = (
            TransposedAxis(conv.kernel_size[i], conv.stride[i], padding[i], extra[i]) for i in (0, 1)
        )
        self.offsets = padding
        super().__init__(node, sources, (rows, columns))

    def channels(self, sources: list[int]) -> int:
        return self.conv.out_channels

    def cost(self, channels: int) -> float:
        return 2.0 * self.conv.weight[:, 0].numel() * channels / (self.conv.stride[0] * self.conv.stride[1])

    def _load_weights(self, device: torch.device) -> None:
        self.weight, self.bias = _weights(self.conv, device, self.compute_dtype)

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        source, conv = self.sources[0], self.conv
        inside = self.input_region(region).clip(inputs.size(source))
        x = inputs.feature(source, inside).to(self.weight.dtype)
        y = F.conv_transpose2d(x, self.weight, self.bias, conv.stride, groups=conv.groups)
        top = region.top - (inside.top * conv.stride[0] - self.offsets[0])
        left = region.left - (inside.left * conv.stride[1] - self.offsets[1])
        return crop(y, top, left, region).to(self.dtype)


class Blur(Operator):
    """Blur with a 3x3 kernel and stride 2; the feature map is reflected at its border."""

    def __init__(self, node: fx.Node, sources: list[fx.Node], module: BlurPool) -> None:
        axis = WindowAxis(kernel=3, stride=2, padding=1)
        super().__init__(node, sources, (axis, axis))
        self.module = module

    def cost(self, channels: int) -> float:
        return 2.0 * 9 * channels

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        source, need = self.sources[0], self.input_region(region)
        inside = need.clip(inputs.size(source))
        # The px reflected into a margin lies inside the window that exceeds the border there.
        x = F.pad(inputs.feature(source, inside), margins(need, inside), mode="reflect")
        return self.module.reduce(x).to(self.dtype)


def _weights(
    conv: nn.Conv2d | nn.ConvTranspose2d | QuantizedConv2d, device: torch.device, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    values = conv.dequantized() if isinstance(conv, QuantizedConv2d) else conv.weight.detach()
    weight = values.to(device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return weight, None if conv.bias is None else conv.bias.detach().to(device=device, dtype=dtype)
