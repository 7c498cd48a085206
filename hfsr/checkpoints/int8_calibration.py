"""Calibration files: the values that turn a model in floating point into 8-bit integers.

A calibration file holds, for each quantized convolution, the range of its input, the difference between two
levels of its weights, and its corrected bias. The integers themselves follow from the weights of the model,
so that the file takes a few per cent of the bytes of another copy of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from hfsr.archs import QuantizedConv2d, input_ranges, quantize_layers
from hfsr.errors import CheckpointError, HfsrError

from .files import first_line, read_state_dict, write_safetensors
from .models import INT8_RANGES

__all__ = ["quantize_by_calibration", "write_calibration"]

_IMAGES = "calibrated_with"
"""Config key: description of the images of the calibration."""
_LARGEST = 63
"""Largest integer of a weight of 7 bits, as `quantize_model` makes them."""
_TOLERANCE = 1e-3
"""Distance from the middle between two integers within which either is right."""


def write_calibration(model: nn.Module, quantized: nn.Module, path: Path, *, images: str) -> None:
    """Writes the calibration of a quantized model.

    Args:
        model: the model in floating point.
        quantized: the result of `quantize_model` for it.
        path: the file, `.safetensors`.
        images: description of the images that it was calibrated with.

    Raises:
        CheckpointError: the integers do not follow from the weights of the model, or the file cannot be
            written.
    """
    ranges = input_ranges(quantized)
    tensors: dict[str, Tensor] = {}
    for name in ranges:
        layer, conv = quantized.get_submodule(name), model.get_submodule(name)
        assert isinstance(layer, QuantizedConv2d)
        assert isinstance(conv, nn.Conv2d)
        differences = _levels(conv.weight, layer.weight_scale) - layer.weight
        if float(differences.abs().max()) > 0.5 + _TOLERANCE:
            raise CheckpointError(
                f"layer '{name}' holds other integers than its weights give; quantize again"
            )
        tensors[f"{name}.weight_scale"] = layer.weight_scale
        tensors[f"{name}.bias"] = layer.bias.detach()
    write_safetensors(tensors, path, config={INT8_RANGES: ranges, _IMAGES: images})


def quantize_by_calibration(model: nn.Module, path: Path) -> nn.Module:
    """Makes 8-bit integers of the convolutions of a model, in place, and returns it.

    Args:
        model: the model in floating point, on the CPU.
        path: its calibration file.

    Raises:
        CheckpointError: the file cannot be read, or is that of another model.
    """
    tensors, metadata = read_state_dict(path)
    try:
        ranges = (metadata["config"] or {})[INT8_RANGES]
        weights = {name: cast(Tensor, model.get_submodule(name).weight) for name in ranges}
        quantize_layers(model, ranges)
        with torch.no_grad():
            for name, weight in weights.items():
                layer = model.get_submodule(name)
                assert isinstance(layer, QuantizedConv2d)
                layer.weight_scale.copy_(tensors[f"{name}.weight_scale"])
                layer.bias.copy_(tensors[f"{name}.bias"])
                layer.weight.copy_(_levels(weight, layer.weight_scale).round().clamp(-_LARGEST, _LARGEST))
    except (HfsrError, AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"'{path}' is no calibration of this model ({first_line(error)}); calibrate it again"
        ) from error
    return model


def _levels(weight: Tensor, scale: Tensor) -> Tensor:
    """Returns weights (out, in, kh, kw) in multiples of `scale` (out), not rounded."""
    return weight.detach() / scale[:, None, None, None]
