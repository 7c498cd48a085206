"""Tables that map nn modules, functions and methods of the fx graph to operators."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hfsr.archs import BlurPool, Enlargement, PositionalEnlargement, QuantizedConv2d
from hfsr.errors import PlanError

from .geometry import CropAxis, InterpolateAxis, UpscaleAxis
from .operators import (
    Blur,
    Convolution,
    Crop,
    Operator,
    PixelUnshuffle,
    Pointwise,
    PositionalUpsampling,
    Resampling,
    TransposedConvolution,
)

__all__ = ["LEAF_MODULES", "build_operator", "is_global_pool", "pool_keeps_dims"]

Builder = Callable[[fx.Node, list[fx.Node], Any], Operator]
_INTERPOLATION_AXES: dict[str, Callable[[int], UpscaleAxis | InterpolateAxis]] = {
    "nearest": UpscaleAxis,
    "nearest-exact": UpscaleAxis,
    "bilinear": lambda factor: InterpolateAxis(factor, support=1),
    "bicubic": lambda factor: InterpolateAxis(factor, support=2),
}


def _interpolation(node: fx.Node, sources: list[fx.Node], factor: Any, mode: str, corners: Any) -> Operator:
    if isinstance(factor, (tuple, list)) and len(set(factor)) == 1:
        factor = factor[0]
    if (
        not isinstance(factor, (int, float))
        or factor != int(factor)
        or mode not in _INTERPOLATION_AXES
        or corners
    ):
        raise PlanError(
            f"'{node.name}': interpolation by {factor} ({mode}) cannot be tiled; whole numbers can"
        )

    def enlarge(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=int(factor), mode=mode, align_corners=corners)

    return Resampling(node, sources, axis=_INTERPOLATION_AXES[mode](int(factor)), function=enlarge)


_INTERPOLATE_ARGUMENTS = (
    *("input", "size", "scale_factor", "mode", "align_corners"),
    *("recompute_scale_factor", "antialias"),
)


def _interpolate(
    node: fx.Node,
    sources: list[fx.Node],
    _: None,
) -> Operator:
    arguments = dict(zip(_INTERPOLATE_ARGUMENTS, node.args, strict=False))
    arguments.update(node.kwargs)
    if arguments.get("antialias"):
        raise PlanError(f"'{node.name}': antialiased interpolation cannot be tiled; use hfsr's Bicubic")
    return _interpolation(
        node,
        sources,
        arguments.get("scale_factor"),
        str(arguments.get("mode", "nearest")),
        arguments.get("align_corners"),
    )


def _upsample(node: fx.Node, sources: list[fx.Node], module: nn.Upsample) -> Operator:
    return _interpolation(node, sources, module.scale_factor, module.mode, module.align_corners)


def _enlargement(node: fx.Node, sources: list[fx.Node], module: Enlargement) -> Operator:
    axis = InterpolateAxis(module.factor, module.support, module.divisor)
    return Resampling(node, sources, axis=axis, function=module)


def _shuffle_by(node: fx.Node, sources: list[fx.Node], factor: int) -> Operator:
    return Resampling(
        node,
        sources,
        axis=UpscaleAxis(factor),
        function=lambda x: F.pixel_shuffle(x, factor),
        channel_ratio=factor * factor,
    )


def _factor(node: fx.Node) -> int:
    factor = node.args[1] if len(node.args) > 1 else None
    if not isinstance(factor, int):
        raise PlanError(f"'{node.name}': pixel shuffling by {factor}; give a whole number as second argument")
    return factor


def _pointwise(node: fx.Node, sources: list[fx.Node], module: Any) -> Operator:
    if module is None:
        function = node.target if callable(node.target) else getattr(torch, str(node.target))
    else:
        function = copy.copy(module)
        if getattr(function, "inplace", False):
            function.inplace = False  # lowering decides what may be overwritten
    return Pointwise(node, sources, function)


def _slice(node: fx.Node, sources: list[fx.Node], _: None) -> Operator:
    """A slice of channels, x[:, a:b], or cropped edges, x[..., a:-b, c:-d]."""
    index: Any = node.args[1]
    if isinstance(index, tuple) and all(isinstance(part, slice) for part in index[1:]):
        if index[0] == slice(None) and len(index) > 1 and all(part == slice(None) for part in index[2:]):
            return _pointwise(node, sources, None)
        crops = [_crop(part) for part in index[1:]]
        if index[0] is Ellipsis and len(crops) == 2 and crops[0] and crops[1]:
            return Crop(node, sources, (crops[0], crops[1]))
    raise PlanError(
        f"'{node.name}': only slices of channels, x[:, a:b], and cropped edges, x[..., a:-b, c:-d], "
        "can be tiled"
    )


def _crop(part: slice) -> CropAxis | None:
    before, end = part.start or 0, part.stop
    counted = isinstance(before, int) and before >= 0 and (end is None or (isinstance(end, int) and end < 0))
    return CropAxis(before, -(end or 0)) if counted and part.step in (None, 1) else None


def _concatenation(node: fx.Node, sources: list[fx.Node], _: None) -> Operator:
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if dim not in (1, -3):
        raise PlanError(f"'{node.name}': concatenation along dimension {dim}; only channels (1) can be tiled")
    if not set(node.all_input_nodes) <= set(sources):
        raise PlanError(f"'{node.name}': only feature maps can be concatenated in tiles, no constants")
    return _pointwise(node, sources, None)


def _batch_norm(node: fx.Node, sources: list[fx.Node], module: nn.BatchNorm2d) -> Operator:
    if module.running_mean is None:
        raise PlanError(
            f"'{node.name}': batch normalization by the statistics of the image itself cannot be tiled; "
            "run this network whole (tile 0)"
        )
    return _pointwise(node, sources, module)


def _channel_reduction(node: fx.Node, sources: list[fx.Node], _: None) -> Operator:
    """Maximum, minimum or mean over the channels of each px."""
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    keeps = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
    if dim not in (1, -3, (1,), [1]) or not keeps:
        raise PlanError(
            f"'{node.name}': {node.target} over dimension {dim}; only over channels (1), with keepdim=True, "
            "can be tiled"
        )
    return _pointwise(node, sources, None)


_LEAF_MODULES: dict[type[nn.Module], Builder] = {
    BlurPool: Blur,
    Enlargement: _enlargement,
    PositionalEnlargement: PositionalUpsampling,
    QuantizedConv2d: Convolution,
}
LEAF_MODULES = tuple(_LEAF_MODULES)
"""Modules of `archs` that are one node of a graph, subclasses included."""
_MODULES: dict[type[nn.Module], Builder] = {
    nn.Conv2d: Convolution,
    nn.ConvTranspose2d: TransposedConvolution,
    nn.PixelShuffle: lambda n, s, m: _shuffle_by(n, s, m.upscale_factor),
    nn.PixelUnshuffle: lambda n, s, m: PixelUnshuffle(n, s, m.downscale_factor),
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    **dict.fromkeys(
        (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.Identity), _pointwise
    ),
    nn.BatchNorm2d: _batch_norm,
}
_FUNCTIONS: dict[Any, Builder] = {
    torch.cat: _concatenation,
    operator.getitem: _slice,
    F.interpolate: _interpolate,
    F.pixel_shuffle: lambda n, s, _: _shuffle_by(n, s, _factor(n)),
    **dict.fromkeys((torch.amax, torch.amin, torch.mean), _channel_reduction),
    **dict.fromkeys(
        (
            operator.add,
            operator.sub,
            operator.mul,
            operator.truediv,
            operator.neg,
            torch.add,
            torch.sub,
            torch.mul,
            torch.div,
            torch.addcmul,
            torch.relu,
            torch.sigmoid,
            torch.tanh,
            torch.clamp,
            F.relu,
            F.leaky_relu,
            F.gelu,
            F.silu,
        ),
        _pointwise,
    ),
}
_METHODS: dict[str, Builder] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "relu", "sigmoid", "tanh", "clamp"), _pointwise),
    **dict.fromkeys(("amax", "amin", "mean"), _channel_reduction),
}


def build_operator(node: fx.Node, sources: list[fx.Node], modules: dict[str, nn.Module]) -> Operator:
    """Builds the operator of a node that reads the feature maps `sources`.

    Raises:
        PlanError: the operator, or its setting, cannot be tiled.
    """
    module: nn.Module | None = None
    builder: Builder | None = None
    if node.op == "call_module":
        module = modules[str(node.target)]
        builder = next((b for kind, b in _LEAF_MODULES.items() if isinstance(module, kind)), None)
        builder = builder or _MODULES.get(type(module))
    elif node.op == "call_function":
        builder = _FUNCTIONS.get(node.target)
    elif node.op == "call_method":
        builder = _METHODS.get(str(node.target))
    if builder is None:
        what = type(module).__name__ if module is not None else str(node.target)
        raise PlanError(f"'{node.name}' ({what}) cannot be tiled; run this network whole (tile 0)")
    return builder(node, sources, module)


def is_global_pool(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Returns True for the mean over a whole feature map.

    That is adaptive average pooling to 1x1, or `mean` over the last two dimensions.
    """
    if node.op == "call_module":
        module = modules[str(node.target)]
        return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))
    if node.target is F.adaptive_avg_pool2d:
        return node.args[1] in (1, (1, 1))
    if node.target in (torch.mean, "mean"):
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        return isinstance(dims, (tuple, list)) and sorted(d % 4 for d in dims if isinstance(d, int)) == [2, 3]
    return False


def pool_keeps_dims(node: fx.Node) -> bool:
    """Returns True if a global pool returns (B, C, 1, 1), False for (B, C)."""
    if node.target in (torch.mean, "mean"):
        return bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
    return True
