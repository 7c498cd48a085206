"""Export of a network for the browser: an ONNX file of half the size, and the facts that running it needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hfsr.atomic import replacing
from hfsr.errors import CheckpointError, PlanError
from hfsr.model_zoo import spec_of

from ..planning.cost_model import live_bytes, tile_cost
from ..program.geometry import Size
from ..program.program import Program
from ..program.sized_program import SizedProgram
from ..program.tracing import is_exact, trace
from .onnx_export import TOLERANCE, difference_to_torch, export_onnx

__all__ = ["MEMORY", "SMALLEST_TILE", "FlatCheck", "WebFacts", "export_web"]

MEMORY = 1 << 30
"""Bytes of feature maps that a tab may hold. WebAssembly addresses 4 GiB; phones end a tab before that."""
SMALLEST_TILE = 64
"""Side in LR px of the smallest tile that is worth its halo."""
_SAMPLE = 256
"""Side in LR px of the tile or image from which the memory per px is computed."""
_MIN_WEIGHTS = 64
"""Values from which an initializer is stored in 16 bit; the Cast node of a smaller one is larger than it."""
_SUFFIX = "_float32"
_COLORS = ((0.25, 0.25, 0.25), (0.8, 0.8, 0.8), (0.7, 0.4, 0.2))
_FLAT_SIDE = 24
_FLAT_TOLERANCE = 5e-4
"""A tenth of a level in 8 bit: the kernels of a browser differ from torch by a hundredth of that."""


@dataclass(frozen=True)
class FlatCheck:
    """Images of one color and the center of their results, for a check of the browser's arithmetic.

    Attributes:
        side: of the square images, px.
        colors: of the images, RGB in [0, 1].
        outputs: color of the center px of each result, by torch.
        tolerance: largest difference in [0, 1] of correct arithmetic.
    """

    side: int
    colors: list[list[float]]
    outputs: list[list[float]]
    tolerance: float


@dataclass(frozen=True)
class WebFacts:
    """The facts of an exported network that a program in the browser needs to run it.

    Attributes:
        architecture: name of the network.
        scale: output px per input px along one side.
        input, output: names in the ONNX file.
        tiling: "local": exact in tiles with `halo` px more on every side; "whole": images run whole.
        halo: in LR px, a multiple of `size_multiple`; 0 if `tiling` is "whole".
        size_multiple: tiles start on a multiple of this many px.
        max_pixels: of the input; None if any size runs in tiles.
        memory_per_pixel: bytes of feature maps per LR px of what runs at once, halo included.
        flops_per_pixel: floating-point operations per LR px.
        parameters: number of weights.
        flat_check: images for a check of the browser's arithmetic.
    """

    architecture: str
    scale: int
    input: str
    output: str
    tiling: str
    halo: int
    size_multiple: int
    max_pixels: int | None
    memory_per_pixel: int
    flops_per_pixel: int
    parameters: int
    flat_check: FlatCheck

    def to_json(self) -> dict[str, Any]:
        """The facts as plain values."""
        return asdict(self)


def export_web(model: nn.Module, path: str | Path) -> WebFacts:
    """Writes a network as ONNX for a browser and returns its facts.

    Weights that 16 bits hold without loss are stored in 16 bit and computed in 32. The file is compared with
    torch in onnxruntime, whole and in tiles, before it is moved to `path`.

    Args:
        model: a registered restorer with an integer scale.
        path: ends in .onnx.

    Raises:
        PlanError: the network cannot run in a browser, or the file gives other results.
        OptionsError, MissingDependencyError, CheckpointError: as `export_onnx`.
    """
    path = Path(path)
    model = model.eval()
    scale = float(getattr(model, "scale", 1))
    if scale != int(scale):
        raise PlanError(f"the page enlarges by whole numbers, and this model by {scale:g}; use torch")
    with replacing(path, error=CheckpointError) as partial:
        whole = partial.with_suffix(".onnx")
        try:
            export_onnx(model, whole)
            names = _halve_weights(whole, partial)
        finally:
            whole.unlink(missing_ok=True)
        if (found := difference_to_torch(model, partial)) > TOLERANCE:
            raise PlanError(f"{_name(model)} for the browser differs from torch by {found:.1e}; not written")
        facts = _facts(model, *names)
        if facts.tiling == "local":
            _check_halo(model, partial, facts)
    return facts


def _facts(model: nn.Module, input_name: str, output_name: str) -> WebFacts:
    program, spec = _program(model), spec_of(model)
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    is_local = program.kind == "local"
    halo = 0
    if is_local:
        halo = program.radius() if spec is None else max(program.radius(), _spec_radius(model))
        halo += -halo % multiple
    memory = _memory_per_pixel(program, halo)
    if is_local and (SMALLEST_TILE + 2 * halo) ** 2 * memory > MEMORY:
        raise PlanError(
            f"{_name(model)} needs a halo of {halo} px around every tile, which takes "
            f"{(SMALLEST_TILE + 2 * halo) ** 2 * memory / 2**30:.1f} GiB in a browser, and a tab has "
            f"{MEMORY / 2**30:.0f} GiB; use a shallower network"
        )
    sized = SizedProgram(program, Size(_SAMPLE, _SAMPLE))
    flops = sized.total_flops / _SAMPLE**2
    return WebFacts(
        architecture=_name(model),
        scale=int(getattr(model, "scale", 1)),
        input=input_name,
        output=output_name,
        tiling="local" if is_local else "whole",
        halo=halo,
        size_multiple=multiple,
        max_pixels=None if is_local else MEMORY // memory,
        memory_per_pixel=memory,
        flops_per_pixel=round(flops),
        parameters=sum(p.numel() for p in model.parameters()),
        flat_check=_flat_check(model, multiple),
    )


def _program(model: nn.Module) -> Program:
    spec = spec_of(model)
    if (spec is None or spec.tiling == "traced") and not is_exact(model):
        raise PlanError(
            f"the graph of {_name(model)} depends on the size of the image, so that its tiles would not be "
            "exact in a browser; use torch"
        )
    return trace(model)


def _spec_radius(model: nn.Module) -> int:
    spec = spec_of(model)
    return 0 if spec is None or spec.tiling == "traced" else spec.radius(vars(model)["model_args"])


def _memory_per_pixel(program: Program, halo: int) -> int:
    """Bytes of feature maps per LR px of what runs at once."""
    side = _SAMPLE + 2 * halo
    sized = SizedProgram(program, Size(side, side))
    peak = max(tile_cost(sized, stage, Size(side, side))[0] for stage in sized.stages)
    area = (side + 2 * halo) ** 2  # what a tile of this side reads; without a halo, the image
    return -(-peak // area) + -(-live_bytes(sized) // side**2)


def _halve_weights(source: Path, target: Path) -> tuple[str, str]:
    """Stores weights in 16 bit where that is exact; returns the names of input and output."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    graph, renamed = model.graph, {}
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_WEIGHTS:
            continue
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), values):
            continue
        name = tensor.name
        renamed[name] = name + _SUFFIX
        tensor.CopyFrom(numpy_helper.from_array(halved, name))
        casts.append(onnx.helper.make_node("Cast", [name], [renamed[name]], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    kept = [info for info in graph.value_info if info.name not in renamed]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    onnx.save(model, target)
    return graph.input[0].name, graph.output[0].name


def _check_halo(model: nn.Module, path: Path, facts: WebFacts) -> None:
    """Compares a strip in two tiles with the whole strip, in onnxruntime.

    Raises:
        PlanError: the tiles differ.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    half = facts.halo + facts.size_multiple * -(-8 // facts.size_multiple)
    strip = torch.rand(1, 3, 2 * half, 24, generator=torch.Generator().manual_seed(0)).numpy()

    def run(x: np.ndarray) -> np.ndarray:
        return session.run(None, {facts.input: x})[0]

    cut, scale = half + facts.halo, facts.scale
    above, below = run(strip[:, :, :cut]), run(strip[:, :, -cut:])
    tiled = np.concatenate([above[:, :, : half * scale], below[:, :, -half * scale :]], axis=2)
    if (found := float(np.abs(tiled - run(strip)).max())) > TOLERANCE:
        raise PlanError(
            f"{_name(model)} in tiles with a halo of {facts.halo} px differs from the whole image by "
            f"{found:.1e}; it was not written"
        )


@torch.no_grad()
def _flat_check(model: nn.Module, multiple: int) -> FlatCheck:
    side = _FLAT_SIDE + -_FLAT_SIDE % multiple
    colors = torch.tensor(_COLORS)
    images = colors[:, :, None, None].expand(-1, -1, side, side).contiguous()
    result: Tensor = model(images)
    center = result.shape[-1] // 2
    outputs = result[:, :, center, center]
    if not outputs.isfinite().all():
        raise PlanError(f"{_name(model)} returns values that are not finite for images of one color")
    return FlatCheck(side, [list(color) for color in _COLORS], outputs.tolist(), _FLAT_TOLERANCE)


def _name(model: nn.Module) -> str:
    spec = spec_of(model)
    return type(model).__name__ if spec is None else spec.name
