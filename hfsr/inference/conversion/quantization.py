"""Post-training quantization: a network's convolutions in 8-bit integers, by NNCF.

NNCF measures on images what range each layer's input has, rounds the weights channel by channel to 7 bits,
and corrects the biases by the mean error. With weights of 8 bits the integer kernels of a CPU without VNNI
would saturate, and the result would depend on the CPU. What NNCF finds is taken over into the network itself,
so that the result is a model like any other: saved with its weights, cut by the planner, run by any backend.
Additions stay in floating point (on the residual path of a deep trunk every rounding shows), and so do the
first and last layers.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.archs import QuantizedConv2d, input_ranges, quantize_layers
from hfsr.errors import MissingDependencyError, OptionsError

from ..backends.openvino import load_openvino, preserve_root_logger, telemetry_disabled
from ..program.dtype_lowering import lower
from ..program.operators import Convolution
from ..program.tracing import trace

__all__ = ["inner_convolutions", "quantize_model"]

_TRANSPARENT = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""Operations that move values without changing them: quantized inputs give quantized outputs."""
_PREFIX = "__module.model."


class _Core(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.core(x)  # type: ignore[operator]


def quantize_model(model: nn.Module, samples: Sequence[Tensor]) -> nn.Module:
    """Returns a copy of a model whose inner convolutions multiply 8-bit integers.

    Args:
        model: a local or pooled restorer on the CPU.
        samples: images for calibration, RGB in [0, 1], (1, 3, H, W), all of one size that its `core` accepts.

    Raises:
        MissingDependencyError: openvino or nncf is not installed.
        OptionsError: the model is quantized already, has no inner convolutions, or there are no samples.
        PlanError: the model cannot be traced.
    """
    if input_ranges(model):
        raise OptionsError("this model is quantized already; quantize the original")
    if not samples:
        raise OptionsError("no images for calibration; name a folder that contains some")
    ov, nncf = load_openvino(), _load_nncf()
    inner = inner_convolutions(model)
    if not inner:
        raise OptionsError(f"{type(model).__name__} has no inner convolutions to quantize; run it in bf16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing for one size, and of NNCF about itself
        script = torch.jit.trace(_Core(model), samples[0], check_trace=False)
        with preserve_root_logger():
            graph = ov.convert_model(script, example_input=samples[0])
        found = nncf.quantize(
            graph,
            nncf.Dataset([sample.numpy() for sample in samples]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=_ignored(nncf, graph, inner),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE  # 7 bits: without VNNI two products are added in 16 bits
            ),
        )
    return _copy_with(model, found, inner)


def _load_nncf() -> Any:
    try:
        with telemetry_disabled(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nncf
    except ModuleNotFoundError as error:
        raise MissingDependencyError("nncf", extra="openvino", purpose="quantizing") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def inner_convolutions(model: nn.Module) -> list[str]:
    """Returns the convolutions of feature maps, with one group, between the first and the last, by name."""
    # Lowering keeps the first and last convolutions in float32.
    program = lower(trace(model), torch.device("cpu"), torch.bfloat16)
    convs = [(node, op) for node, op in program.operators.items() if isinstance(op, Convolution)]
    return [
        str(node.target)
        for node, op in convs
        if op.compute_dtype == op.dtype == torch.bfloat16 and op.conv.groups == 1
    ]


def _ignored(nncf: Any, graph: Any, inner: Sequence[str]) -> Any:
    """Scope of all operations but the inner convolutions."""
    kept = {f"{_PREFIX}{name}" for name in inner}
    others = [
        op.friendly_name
        for op in graph.get_ordered_ops()
        if op.get_type_name() not in ("Constant", "Parameter", "Result")
        and not (op.get_type_name() == "Convolution" and op.friendly_name.split("/")[0] in kept)
    ]
    return nncf.IgnoredScope(names=others, validate=False)


def _copy_with(model: nn.Module, graph: Any, inner: Sequence[str]) -> nn.Module:
    """A copy of the model with the input ranges, weights and biases of a quantized graph."""
    layers: dict[str, Any] = {}
    for op in graph.get_ordered_ops():
        name = op.friendly_name.split("/")[0].removeprefix(_PREFIX)
        if op.get_type_name() == "Convolution" and name in inner and (levels := _input_levels(op)):
            layers[name] = (op, levels)
    copied = copy.deepcopy(model).eval()
    quantize_layers(copied, {name: levels for name, (_, levels) in layers.items()})
    for name, (op, _) in layers.items():
        _fill(copied.get_submodule(name), op)
    return copied


def _input_levels(op: Any) -> tuple[float, int] | None:
    """Scale and zero point of a convolution's input; None if it is not quantized."""
    source = op.input_value(0).get_node()
    while source.get_type_name() in _TRANSPARENT:
        source = source.input_value(0).get_node()
    if source.get_type_name() != "FakeQuantize":
        return None
    low, high = (float(source.input_value(i).get_node().data.reshape(-1)[0]) for i in (1, 2))
    if source.input_value(1).get_node().data.size != 1 or not high > low:
        return None
    scale = (high - low) / 255
    return scale, min(max(round(-low / scale), 0), 255)


def _fill(layer: nn.Module, op: Any) -> None:
    """Copies weights and bias from a convolution of a quantized graph."""
    scaled = op.input_value(1).get_node()  # Multiply(Convert(int8), scale)
    values = scaled.input_value(0).get_node().input_value(0).get_node().data
    reader = next(iter(op.output(0).get_target_inputs())).get_node()
    bias = reader.input_value(1).get_node() if reader.get_type_name() == "Add" else None
    assert isinstance(layer, QuantizedConv2d)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(values.copy()))
        layer.weight_scale.copy_(torch.from_numpy(scaled.input_value(1).get_node().data.reshape(-1).copy()))
        if bias is not None and bias.get_type_name() == "Constant":  # else another feature map is added
            layer.bias.copy_(torch.from_numpy(bias.data.reshape(-1).copy()))
