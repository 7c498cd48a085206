"""Operators of a network's fx graph as layers of ncnn."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hfsr.errors import PlanError

from .ncnn_graph import NcnnGraph

__all__ = ["add_node"]

_ADD, _SUB, _MUL, _DIV, _RSUB, _RDIV = 0, 1, 2, 3, 7, 8
"""Numbers of the operations of ncnn's BinaryOp."""
_ARITHMETIC: dict[Any, tuple[int, int]] = {
    # operation -> its number, and that with its operands swapped
    **dict.fromkeys([operator.add, operator.iadd, torch.add, "add", "add_"], (_ADD, _ADD)),
    **dict.fromkeys([operator.sub, operator.isub, torch.sub, "sub", "sub_"], (_SUB, _RSUB)),
    **dict.fromkeys([operator.mul, operator.imul, torch.mul, "mul", "mul_"], (_MUL, _MUL)),
    **dict.fromkeys([operator.truediv, operator.itruediv, torch.div, "div", "div_"], (_DIV, _RDIV)),
}
_NEUTRAL = {_ADD: 0.0, _SUB: 0.0, _MUL: 1.0, _DIV: 1.0}
_UNCHANGED = ("contiguous", "type_as", "to", "float")
_RESIZE = {"nearest": 1, "bilinear": 2}

Value = Any
"""Of a node: the name of a blob, a tensor or a number."""


def add_node(graph: NcnnGraph, node: fx.Node, values: Mapping[fx.Node, Value], model: nn.Module) -> Value:
    """Adds the layers of one node.

    Args:
        graph: gets the layers.
        node: calls a module, a function or a method.
        values: of the nodes before it.
        model: the traced network.

    Returns:
        The name of its blob, or a constant.

    Raises:
        PlanError: ncnn has no such operator.
    """
    arguments = [_value(argument, values) for argument in node.args]
    options = {name: _value(argument, values) for name, argument in node.kwargs.items()}
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        for kinds, build in _MODULES:
            if isinstance(module, kinds):
                return build(graph, arguments[0], module)
        raise PlanError(f"it has a layer {type(module).__name__}")
    target = node.target if node.op == "call_function" else str(node.target)
    if target in _ARITHMETIC:
        return _arithmetic(graph, target, arguments, options)
    if target in _UNCHANGED:
        return arguments[0]
    if target in ("clone", torch.clone):
        return graph.add("BinaryOp", [_blob(arguments[0])], {0: _MUL, 1: 1, 2: 1.0})
    if target in (torch.cat, torch.concat):
        return _concatenate(graph, arguments, options)
    if target is F.interpolate:
        names = ("input", "size", "scale_factor", "mode", "align_corners")
        told = {**dict(zip(names, arguments, strict=False)), **options}
        return _resize(
            graph, told["input"], told.get("scale_factor"), told.get("mode"), told.get("align_corners")
        )
    if target in (torch.sigmoid, F.sigmoid, "sigmoid"):
        return graph.add("Sigmoid", [_blob(arguments[0])])
    if target in (F.relu, torch.relu, "relu", "relu_"):
        return graph.add("ReLU", [_blob(arguments[0])])
    if target in (F.leaky_relu, torch.nn.functional.leaky_relu_):
        slope = options.get("negative_slope", arguments[1] if len(arguments) > 1 else 0.01)
        return graph.add("ReLU", [_blob(arguments[0])], {0: float(slope)})
    if target is F.silu:
        return graph.add("Swish", [_blob(arguments[0])])
    if target in (F.pixel_shuffle, torch.pixel_shuffle):
        return graph.add("PixelShuffle", [_blob(arguments[0])], {0: int(arguments[1])})
    raise PlanError(f"it calls {getattr(target, '__name__', target)}")


def _value(argument: Any, values: Mapping[fx.Node, Value]) -> Value:
    if isinstance(argument, fx.Node):
        return values[argument]
    if isinstance(argument, (list, tuple)):
        return [_value(part, values) for part in argument]
    return argument


def _blob(value: Value) -> str:
    if not isinstance(value, str):
        raise PlanError("it computes with constants alone")
    return value


# --- modules ---


def _convolution(graph: NcnnGraph, x: Value, module: Any) -> str:
    if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise PlanError("it has a grouped convolution, or one with another border than zeros")
    height, width = module.kernel_size
    parameters: dict[int, Any] = {
        0: module.out_channels,
        1: width,
        11: height,
        2: module.dilation[1],
        12: module.dilation[0],
        3: module.stride[1],
        13: module.stride[0],
        4: module.padding[1],
        14: module.padding[0],
        5: int(module.bias is not None),
        6: module.weight.numel(),
    }
    bias = () if module.bias is None else (module.bias,)
    return graph.add("Convolution", [_blob(x)], parameters, tagged=module.weight, plain=bias)


def _prelu(graph: NcnnGraph, x: Value, module: Any) -> str:
    return graph.add("PReLU", [_blob(x)], {0: module.weight.numel()}, plain=(module.weight,))


def _upsample(graph: NcnnGraph, x: Value, module: Any) -> str:
    return _resize(graph, x, module.scale_factor, module.mode, module.align_corners)


_MODULES: tuple[tuple[Any, Callable[[NcnnGraph, Value, Any], Value]], ...] = (
    (nn.Conv2d, _convolution),
    (nn.LeakyReLU, lambda graph, x, m: graph.add("ReLU", [_blob(x)], {0: float(m.negative_slope)})),
    (nn.ReLU, lambda graph, x, m: graph.add("ReLU", [_blob(x)])),
    (nn.PReLU, _prelu),
    (nn.SiLU, lambda graph, x, m: graph.add("Swish", [_blob(x)])),
    (nn.Mish, lambda graph, x, m: graph.add("Mish", [_blob(x)])),
    (nn.Sigmoid, lambda graph, x, m: graph.add("Sigmoid", [_blob(x)])),
    (nn.PixelShuffle, lambda graph, x, m: graph.add("PixelShuffle", [_blob(x)], {0: m.upscale_factor})),
    (nn.Upsample, _upsample),
    ((nn.Identity, nn.Dropout), lambda graph, x, m: x),
)


# --- functions ---


def _resize(graph: NcnnGraph, x: Value, factor: Any, mode: Any, corners: Any) -> str:
    factors = {float(f) for f in (factor if isinstance(factor, (list, tuple)) else [factor or 0])}
    mode = "nearest" if mode is None else mode
    if (
        mode not in _RESIZE
        or corners
        or len(factors) != 1
        or not min(factors).is_integer()
        or min(factors) < 1
    ):
        raise PlanError(f"it interpolates by {factor} ({mode})")
    scale = factors.pop()
    return graph.add("Interp", [_blob(x)], {0: _RESIZE[mode], 1: scale, 2: scale})


def _concatenate(graph: NcnnGraph, arguments: list[Value], options: Mapping[str, Value]) -> str:
    parts = options.get("tensors", arguments[0] if arguments else [])
    dim = options.get("dim", arguments[1] if len(arguments) > 1 else 0)
    if dim not in (1, -3):
        raise PlanError(f"it concatenates along dimension {dim}")
    return graph.add("Concat", [_blob(part) for part in parts], {0: 0})


def _arithmetic(graph: NcnnGraph, target: Any, arguments: list[Value], options: Mapping[str, Value]) -> Value:
    first, second = arguments[0], options.get("other", arguments[1] if len(arguments) > 1 else None)
    straight, swapped = _ARITHMETIC[target]
    alpha = options.get("alpha", 1)
    if alpha != 1:
        second = _with_constant(graph, _MUL, second, float(alpha))
    if isinstance(first, str) and isinstance(second, str):
        return graph.add("BinaryOp", [first, second], {0: straight})
    if isinstance(first, str):
        return _with_constant(graph, straight, first, second)
    if isinstance(second, str):
        return _with_constant(graph, swapped, second, first)
    raise PlanError("it computes with constants alone")


def _with_constant(graph: NcnnGraph, operation: int, x: Value, constant: Any) -> str:
    """A blob and a number, or one number for each channel."""
    if isinstance(constant, Tensor) and constant.numel() == 1:
        constant = constant.item()
    if isinstance(constant, (int, float)):
        if _NEUTRAL.get(operation) == constant:
            return _blob(x)
        return graph.add("BinaryOp", [_blob(x)], {0: operation, 1: 1, 2: float(constant)})
    if not (isinstance(constant, Tensor) and constant.dim() == 4 and constant.shape[1] == constant.numel()):
        raise PlanError("it computes with a constant that is no number for each channel")
    values = constant.detach().flatten().float()
    ones, zeros = torch.ones_like(values), torch.zeros_like(values)
    scale, bias = {
        _ADD: (ones, values),
        _SUB: (ones, -values),
        _RSUB: (-ones, values),
        _MUL: (values, zeros),
        _DIV: (1 / values, zeros),
    }.get(operation, (None, None))
    if scale is None or bias is None:
        raise PlanError("it divides a number by a feature map")
    return graph.add("Scale", [_blob(x)], {0: values.numel(), 1: 1}, plain=(scale, bias))
