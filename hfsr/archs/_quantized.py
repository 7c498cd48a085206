"""8-bit integer convolutions, as stored in a quantized model.

The layer simulates integer arithmetic in floating point, with the input rounded to 256 levels and the weights
to 255, so any backend runs it. OpenVINO recognizes both roundings and multiplies integers; torch does not,
and gains no speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.errors import OptionsError

__all__ = ["QuantizedConv2d", "count_parameters", "input_ranges", "quantize_layers"]


class QuantizedConv2d(nn.Module):
    """Convolution with an input of 256 levels and weights of 255 levels.

    Args:
        conv: the source of all settings and shapes; the values of its weights are not copied.
        scale: difference between two levels of the input.
        zero_point: the level, 0 to 255, that represents zero.
    """

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, conv: nn.Conv2d, scale: float, zero_point: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self.padding, self.padding_mode, self.groups = conv.padding, conv.padding_mode, conv.groups
        self.scale, self.zero_point = scale, zero_point
        self.register_buffer("weight", torch.zeros(conv.weight.shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(conv.out_channels))
        self.bias = nn.Parameter(torch.zeros(conv.out_channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, in, H, W). Returns: (B, out, H', W'), as nn.Conv2d gives it."""
        zeros = torch.zeros(self.out_channels, dtype=torch.int32, device=self.weight.device)
        # The weights are rounded already; repeating it shows the levels to a compiler.
        weight = torch.fake_quantize_per_channel_affine(
            self.dequantized(), self.weight_scale, zeros, 0, -127, 127
        )
        y = self.rounded(x)
        return F.conv2d(y, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def rounded(self, x: Tensor) -> Tensor:
        """Rounds the input to its 256 levels, float32."""
        return torch.fake_quantize_per_tensor_affine(x.float(), self.scale, self.zero_point, 0, 255)

    def dequantized(self) -> Tensor:
        """Returns the weights as floats, (out, in / groups, kh, kw)."""
        return self.weight.float() * self.weight_scale[:, None, None, None]


def quantize_layers(model: nn.Module, ranges: Mapping[str, Sequence[float]]) -> None:
    """Replaces each named convolution by a `QuantizedConv2d` whose weights are still to be loaded.

    Args:
        model: changed in place.
        ranges: (scale, zero point) of the input of each layer, by its name.

    Raises:
        OptionsError: If a name is not that of a convolution, or a range is invalid.
    """
    for name, given in ranges.items():
        parent, _, attribute = name.rpartition(".")
        try:
            conv = model.get_submodule(name)
            scale, zero_point = float(given[0]), int(given[1])
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise OptionsError(f"quantized layer '{name}' cannot be made ({error})") from error
        if not isinstance(conv, nn.Conv2d) or not scale > 0 or not 0 <= zero_point <= 255:
            raise OptionsError(
                f"quantized layer '{name}' with scale {scale:g} and zero point {zero_point} is not possible; "
                "it must be a convolution with a scale above 0 and a zero point of 0 to 255"
            )
        setattr(model.get_submodule(parent), attribute, QuantizedConv2d(conv, scale, zero_point))


def count_parameters(model: nn.Module) -> int:
    """Returns the number of parameters of a network, the integer weights of quantized layers included."""
    integers = [layer.weight for layer in model.modules() if isinstance(layer, QuantizedConv2d)]
    return sum(tensor.numel() for tensor in [*model.parameters(), *integers])


def input_ranges(model: nn.Module) -> dict[str, list[float]]:
    """Returns the `ranges` argument of `quantize_layers` for this model; empty if nothing is quantized."""
    return {
        name: [module.scale, module.zero_point]
        for name, module in model.named_modules()
        if isinstance(module, QuantizedConv2d)
    }
