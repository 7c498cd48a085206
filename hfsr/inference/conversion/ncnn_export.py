"""Export of a network to ncnn's `.param` and `.bin`, verified in ncnn before they are written."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hfsr.archs import has_one_channel, input_ranges
from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, MissingDependencyError, OptionsError, PlanError
from hfsr.model_zoo import check_restorer, spec_of

from ..program.inplace import is_inplace
from ..program.tracing import CoreTracer, attribute_of
from .ncnn_graph import INPUT, OUTPUT, NcnnGraph
from .ncnn_layers import add_node

__all__ = ["TOLERANCE", "TOLERANCE_FP16", "NcnnDifferences", "export_ncnn"]

TOLERANCE = 1e-4
"""Largest difference to torch, for a range of 1, at which the files are kept."""
TOLERANCE_FP16 = 0.02
"""The same if weights and feature maps are stored in 16 bit, as such programs do on graphics cards: five
levels of 8 bit."""
_SIZES = ((33, 29), (16, 48), (51, 40))
_FOLDED = 1e-6
"""Largest difference of a network whose range was folded into its weights, in float64."""
_PLACE = "use ONNX or torch; the documentation lists what can be exported to ncnn"


@dataclass(frozen=True)
class NcnnDifferences:
    """Largest differences of the result in ncnn to torch, for a range of 1.

    Attributes:
        fp32: weights and feature maps in 32 bit.
        fp16: both in 16 bit. Feature maps are rounded in torch as well, since ncnn keeps them in 32 bit on
            many CPUs.
    """

    fp32: float
    fp16: float


def export_ncnn(model: nn.Module, path: str | Path, *, half: bool = False) -> NcnnDifferences:
    """Writes a model as `.param` and, beside it, `.bin`: blob `data` to blob `output`, RGB in [0, 1].

    The network is compared with torch in ncnn at three sizes, stored in 32 and in 16 bit, before the files
    are moved to their names.

    Args:
        model: a restorer of convolutions whose operators ncnn has.
        path: of the graph, ends in .param; the weights go to the same name with .bin.
        half: stores the weights in 16 bit, in half the room.

    Returns:
        The largest differences to torch.

    Raises:
        OptionsError: the suffix is not .param, the model is quantized, or it restores no images.
        PlanError: ncnn lacks an operator of the network, or gives other results.
        MissingDependencyError: ncnn is not installed.
        CheckpointError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".param":
        raise OptionsError(f"'{path}' must end in .param")
    check_restorer(model)
    if input_ranges(model):
        raise OptionsError("a quantized model is not exported; export the original")
    ncnn = _import_ncnn()
    _check_exportable(model)
    folded = _with_unit_range(_plain_copy(model))
    graph, output, module = _build(folded, name=_name(model))
    expected = _expected(model)
    with (
        replacing(path, error=CheckpointError) as param,
        replacing(path.with_suffix(".bin"), error=CheckpointError) as weights,
    ):
        differences = {}
        for stored_half in (not half, half):  # the last one stays
            graph.write(param, weights, output=output, half=stored_half)
            differences[stored_half] = _difference(ncnn, expected, param, weights, half=stored_half)
        rounded = _difference_of_rounded(module, expected)
        found = NcnnDifferences(fp32=differences[False], fp16=max(differences[True], rounded))
        for storage, difference, limit in (("32", found.fp32, TOLERANCE), ("16", found.fp16, TOLERANCE_FP16)):
            if not difference <= limit:
                raise PlanError(
                    f"{_name(model)} in ncnn, stored in {storage} bit, differs from torch by "
                    f"{difference:.1e}; it was not written"
                )
    return found


def _import_ncnn() -> Any:
    try:
        import ncnn
    except ModuleNotFoundError as error:
        raise MissingDependencyError("ncnn", extra="ncnn", purpose="exporting to ncnn") from error
    return ncnn


def _check_exportable(model: nn.Module) -> None:
    """Raises PlanError for what these programs cannot run, whatever its operators are."""
    spec, name = spec_of(model), _name(model)
    scale = getattr(model, "scale", 1)
    reasons = {
        "it restores luma alone, and those programs give it RGB": has_one_channel(model)
        or (spec is not None and spec.luma),
        "its scale is no whole number": scale != int(scale),
        "it takes only sizes that are multiples of some px, to which those programs do not pad": (
            spec is not None and spec.size_multiple(vars(model)["model_args"]) > 1
        ),
        "it pools over the whole image, and those programs cut images in tiles": (
            spec is not None and spec.tiling == "pooled"
        ),
        "it attends to the whole image, and those programs cut images in tiles": (
            spec is not None and spec.tiling == "windowed"
        ),
        "its graph depends on the size of the image": spec is not None and spec.tiling == "positional",
    }
    for reason, applies in reasons.items():
        if applies:
            raise PlanError(f"{name} cannot be exported to ncnn: {reason}; {_PLACE}")


def _name(model: nn.Module) -> str:
    spec = spec_of(model)
    return type(model).__name__ if spec is None else spec.name


def _plain_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, float32, with the merged convolutions of reparametrized blocks in place."""
    plain = copy.deepcopy(model).to("cpu", torch.float32).eval()
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            merged = getattr(child, "eval_conv", None)
            if isinstance(merged, nn.Conv2d) and hasattr(child, "update_params"):
                child.update_params()  # type: ignore[operator]
                after = [nn.LeakyReLU(0.05)] if getattr(child, "has_relu", False) else []
                setattr(module, name, nn.Sequential(merged, *after))
    return plain


@torch.no_grad()
def _with_unit_range(model: nn.Module) -> nn.Module:
    """The network on [0, 1], where it works on another range and scales with its input.

    A network f of convolutions and rectifiers has f(r x) = r g(x), where g has its biases divided by r.
    Feature maps in 0..255 would overflow 16 bit.
    """
    shift = getattr(model, "shift", None)
    img_range = getattr(shift, "img_range", 1.0)
    if shift is None or img_range == 1:
        return model
    folded = copy.deepcopy(model)
    for module in folded.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
            module.bias.div_(img_range)
    folded.shift.img_range = 1.0  # type: ignore[union-attr]
    x = torch.rand(1, 3, 20, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected, found = copy.deepcopy(model).double()(x), copy.deepcopy(folded).double()(x)
    return folded if (expected - found).abs().max() <= _FOLDED * expected.abs().max() else model


def _build(model: nn.Module, *, name: str) -> tuple[NcnnGraph, str, fx.GraphModule]:
    """The layers of a network, the blob that is its result, and the traced network.

    Raises:
        PlanError: it cannot be traced, or ncnn lacks an operator.
    """
    traced = copy.deepcopy(model)  # networks that store intermediate results keep proxies in place of them
    try:
        graph = CoreTracer().trace(traced)
    except Exception as error:  # any Python code of the network may fail on a proxy
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise PlanError(f"{name} cannot be exported to ncnn: {lines[0][:120]}; {_PLACE}") from error
    for constant in [key for key in vars(traced) if key.startswith("_tensor_constant")]:
        setattr(model, constant, getattr(traced, constant))
    module = fx.GraphModule(model, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    modules = dict(module.named_modules())
    layers = NcnnGraph()
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            values[node] = INPUT
        elif node.op == "output":
            result = values[node.args[0]]
        elif node.op == "get_attr":
            values[node] = attribute_of(module, str(node.target))
        else:
            try:
                values[node] = add_node(layers, node, values, module)
            except PlanError as error:
                raise PlanError(f"{name} cannot be exported to ncnn: {error}; {_PLACE}") from error
            if is_inplace(node, modules):  # whatever reads that feature map from here on reads the result
                before = values[node.args[0]]
                values |= {other: values[node] for other in values if values[other] is before}
    return layers, str(result), module


Images = list[tuple[Tensor, Tensor]]
"""Inputs and results, both (3, H, W)."""


@torch.inference_mode()
def _expected(model: nn.Module) -> Images:
    """Results of torch for images of three sizes."""
    reference = copy.deepcopy(model).to("cpu", torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, height, width, generator=generator) for height, width in _SIZES]
    return [(x, reference(x[None])[0]) for x in images]


class _Rounding(fx.Interpreter):
    """Runs a traced network with every feature map rounded to 16 bit."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        return result.half().float() if isinstance(result, Tensor) and n.op != "get_attr" else result


@torch.inference_mode()
def _difference_of_rounded(module: fx.GraphModule, expected: Images) -> float:
    worst = 0.0
    for x, right in expected:
        result = _Rounding(module).run(x[None].clone())[0]
        if not result.isfinite().all():
            return float("inf")
        worst = max(worst, float((result - right).abs().max()) / _range(right))
    return worst


def _range(image: Tensor) -> float:
    """The range of a result, at least 1: random weights give others than [0, 1]."""
    return max(1.0, float(image.max() - image.min()))


def _difference(ncnn: Any, expected: Images, param: Path, weights: Path, *, half: bool) -> float:
    """Largest difference between the files in ncnn and the model in torch, at three sizes."""
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = torch.get_num_threads()
    for option in ("use_fp16_packed", "use_fp16_storage"):
        setattr(network.opt, option, half)
    for option in ("use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    if network.load_param(str(param)) or network.load_model(str(weights)):
        return float("inf")
    worst = 0.0
    for x, right in expected:
        with network.create_extractor() as extractor:
            extractor.input(INPUT, ncnn.Mat(x.numpy()).clone())
            status, found = extractor.extract(OUTPUT)
        result = np.array(found)
        if status or result.shape != tuple(right.shape) or not np.isfinite(result).all():
            return float("inf")
        worst = max(worst, float(np.abs(result - right.numpy()).max()) / _range(right))
    return worst
