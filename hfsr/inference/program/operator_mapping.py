"""Which operator a node of the graph is: tables from modules, functions and methods to `operators`."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hfsr.archs import BlurPool, Enlargement, PositionalEnlargement, QuantisedConv2d
from hfsr.errors import PlanError

from .geometry import Enlarge, Interpolate, Trim
from .operators import (
    Blur,
    Convolution,
    MapOperator,
    Pointwise,
    Positional,
    Resampling,
    TransposedConvolution,
    Trimming,
    Unshuffle,
)

__all__ = ["LEAVES", "is_global_pool", "map_operator", "pool_keeps_dims"]

Builder = Callable[[fx.Node, list[fx.Node], Any], MapOperator]
_RULES: dict[str, Callable[[int], Enlarge | Interpolate]] = {
    "nearest": Enlarge,
    "nearest-exact": Enlarge,
    "bilinear": lambda factor: Interpolate(factor, support=1),
    "bicubic": lambda factor: Interpolate(factor, support=2),
}


def _interpolation(
    node: fx.Node, sources: list[fx.Node], factor: Any, mode: str, corners: Any
) -> MapOperator:
    if isinstance(factor, (tuple, list)) and len(set(factor)) == 1:
        factor = factor[0]
    if not isinstance(factor, (int, float)) or factor != int(factor) or mode not in _RULES or corners:
        raise PlanError(
            f"'{node.name}': interpolation by {factor} ({mode}) cannot be cut in pieces; whole numbers can"
        )

    def enlarge(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=int(factor), mode=mode, align_corners=corners)

    return Resampling(node, sources, rule=_RULES[mode](int(factor)), function=enlarge)


def _interpolate(
    node: fx.Node,
    sources: list[fx.Node],
    _: None,
) -> MapOperator:
    words = dict(zip(("input", "size", "scale_factor", "mode", "align_corners"), node.args, strict=False))
    words.update(node.kwargs)
    return _interpolation(
        node,
        sources,
        words.get("scale_factor"),
        str(words.get("mode", "nearest")),
        words.get("align_corners"),
    )


def _upsample(node: fx.Node, sources: list[fx.Node], module: nn.Upsample) -> MapOperator:
    return _interpolation(node, sources, module.scale_factor, module.mode, module.align_corners)


def _enlargement(node: fx.Node, sources: list[fx.Node], module: Enlargement) -> MapOperator:
    rule = Interpolate(module.factor, module.support, module.divisor)
    return Resampling(node, sources, rule=rule, function=module)


def _shuffle_by(node: fx.Node, sources: list[fx.Node], factor: int) -> MapOperator:
    return Resampling(
        node,
        sources,
        rule=Enlarge(factor),
        function=lambda x: F.pixel_shuffle(x, factor),
        channel_ratio=factor * factor,
    )


def _factor(node: fx.Node) -> int:
    factor = node.args[1] if len(node.args) > 1 else None
    if not isinstance(factor, int):
        raise PlanError(f"'{node.name}': pixel shuffling by {factor}; give a whole number as second argument")
    return factor


def _pointwise(node: fx.Node, sources: list[fx.Node], module: Any) -> MapOperator:
    if module is None:
        function = node.target if callable(node.target) else getattr(torch, str(node.target))
    else:
        function = copy.copy(module)
        if getattr(function, "inplace", False):
            function.inplace = False  # the planner decides what may be overwritten
    return Pointwise(node, sources, function)


def _slice(node: fx.Node, sources: list[fx.Node], _: None) -> MapOperator:
    """Channels, x[:, a:b], or what is left of a map when its edges are cut off, x[..., a:-b, c:-d]."""
    index: Any = node.args[1]
    if isinstance(index, tuple) and all(isinstance(part, slice) for part in index[1:]):
        if index[0] == slice(None) and len(index) > 1 and all(part == slice(None) for part in index[2:]):
            return _pointwise(node, sources, None)
        trims = [_trim(part) for part in index[1:]]
        if index[0] is Ellipsis and len(trims) == 2 and trims[0] and trims[1]:
            return Trimming(node, sources, (trims[0], trims[1]))
    raise PlanError(
        f"'{node.name}': only slices of channels, x[:, a:b], and trimmed edges, x[..., a:-b, c:-d], "
        "can be cut in pieces"
    )


def _trim(part: slice) -> Trim | None:
    before, end = part.start or 0, part.stop
    counted = isinstance(before, int) and before >= 0 and (end is None or (isinstance(end, int) and end < 0))
    return Trim(before, -(end or 0)) if counted and part.step in (None, 1) else None


def _along_channels(node: fx.Node, sources: list[fx.Node], _: None) -> MapOperator:
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if dim not in (1, -3):
        raise PlanError(
            f"'{node.name}': concatenation along dimension {dim}; only channels (1) can be cut in pieces"
        )
    return _pointwise(node, sources, None)


def _over_channels(node: fx.Node, sources: list[fx.Node], _: None) -> MapOperator:
    """The largest, the smallest or the mean of all channels of each px."""
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    keeps = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
    if dim not in (1, -3, (1,), [1]) or not keeps:
        raise PlanError(
            f"'{node.name}': {node.target} over dimension {dim}; only over channels (1), with keepdim=True, "
            "can be cut in pieces"
        )
    return _pointwise(node, sources, None)


_KINDS: dict[type[nn.Module], Builder] = {
    BlurPool: Blur,
    Enlargement: _enlargement,
    PositionalEnlargement: Positional,
    QuantisedConv2d: Convolution,
}
LEAVES = tuple(_KINDS)
"""Modules of ours that are one node of a graph, their subclasses included."""
_MODULES: dict[type[nn.Module], Builder] = {
    nn.Conv2d: Convolution,
    nn.ConvTranspose2d: TransposedConvolution,
    nn.PixelShuffle: lambda n, s, m: _shuffle_by(n, s, m.upscale_factor),
    nn.PixelUnshuffle: lambda n, s, m: Unshuffle(n, s, m.downscale_factor),
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    **dict.fromkeys(
        (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.BatchNorm2d, nn.Identity),
        _pointwise,
    ),
}
_FUNCTIONS: dict[Any, Builder] = {
    torch.cat: _along_channels,
    operator.getitem: _slice,
    F.interpolate: _interpolate,
    F.pixel_shuffle: lambda n, s, _: _shuffle_by(n, s, _factor(n)),
    **dict.fromkeys((torch.amax, torch.amin, torch.mean), _over_channels),
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
    **dict.fromkeys(("amax", "amin", "mean"), _over_channels),
}


def map_operator(node: fx.Node, sources: list[fx.Node], modules: dict[str, nn.Module]) -> MapOperator:
    """The operator of a node that reads the maps `sources`.

    Raises:
        PlanError: the operator, or its setting, has no rule for pieces.
    """
    module: nn.Module | None = None
    builder: Builder | None = None
    if node.op == "call_module":
        module = modules[str(node.target)]
        builder = next((b for kind, b in _KINDS.items() if isinstance(module, kind)), None)
        builder = builder or _MODULES.get(type(module))
    elif node.op == "call_function":
        builder = _FUNCTIONS.get(node.target)
    elif node.op == "call_method":
        builder = _METHODS.get(str(node.target))
    if builder is None:
        what = type(module).__name__ if module is not None else str(node.target)
        raise PlanError(f"'{node.name}' ({what}) has no rule for pieces; run this network whole (tile 0)")
    return builder(node, sources, module)


def is_global_pool(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """True for the mean over a whole map: adaptive average pooling to 1x1, or `mean` over the last two
    dimensions.
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
    """Whether a global pool returns (B, C, 1, 1) and not (B, C)."""
    if node.target in (torch.mean, "mean"):
        return bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
    return True
