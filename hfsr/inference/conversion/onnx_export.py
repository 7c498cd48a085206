"""A network as an ONNX file, for any batch, height and width, checked before it takes its name."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.archs import input_ranges
from hfsr.checkpoints import ONNX_CONFIG, ONNX_KEYS, config_of
from hfsr.checkpoints.files import replacing
from hfsr.errors import MissingDependencyError, OptionsError, PlanError
from hfsr.zoo import spec_of

__all__ = ["TOLERANCE", "export_onnx"]

TOLERANCE = 1e-4
"""Largest difference to torch, of a range of 1, with which a file is kept."""
_CHECKED = ((1, 3, 33, 29), (2, 3, 16, 48), (1, 3, 51, 40))
_EXAMPLE = (2, 3, 24, 32)
_PREFIX = "model."
_REFUSED = {
    "windowed": "attends to the whole image with a graph that depends on its size",
    "positional": "enlarges by any number, with a graph that depends on the size of the image",
}


def export_onnx(model: nn.Module, path: str | Path) -> float:
    """Writes a model as ONNX: `lq` (B, 3, H, W) to `sr` (B, 3, H*scale, W*scale), RGB in [0, 1], float32.

    The file holds the weights under the network's own keys and, in its metadata, the config, so that
    `from_pretrained` reads it again. It is compared with torch by onnxruntime at three sizes before it takes
    its name.

    Args:
        model: a registered restorer; computed in float32.
        path: ends in .onnx.

    Returns:
        The largest difference to torch that was found.

    Raises:
        OptionsError: another ending, or a quantised model.
        PlanError: this network has no graph for all sizes, or its file gives something else.
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        CheckpointError: the file cannot be written, or the network is not registered.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise OptionsError(f"'{path}' must end in .onnx")
    if input_ranges(model):
        raise OptionsError("a quantised model is not exported; export the one it was made from")
    _require("onnx", "onnxscript", "onnxruntime")
    config, spec = config_of(model), spec_of(model)
    if spec is not None and spec.tiling in _REFUSED:
        raise PlanError(f"{spec.name} {_REFUSED[spec.tiling]}, and cannot be an ONNX file; use torch")
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    model = model.eval()
    with replacing(path) as partial:
        program = _exported(_Padded(model, multiple))
        _name_weights(program, model, config)
        program.save(partial)
        found = _difference(model, partial)
        if found > TOLERANCE:
            raise PlanError(
                f"{type(model).__name__} as ONNX differs from torch by {found:.1e}; it was not written"
            )
    return found


class _Padded(nn.Module):
    """`forward` with sizes that are not known: pads, runs `core`, crops."""

    def __init__(self, model: nn.Module, multiple: int) -> None:
        super().__init__()
        self.model = model
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        if self.multiple == 1:
            return self.model.core(x)  # type: ignore[operator]
        height, width = x.shape[2], x.shape[3]
        scale = int(self.model.scale)  # type: ignore[arg-type]
        bottom, right = -height % self.multiple, -width % self.multiple
        y = self.model.core(F.pad(x, (0, right, 0, bottom), mode="reflect"))  # type: ignore[operator]
        return y[..., : height * scale, : width * scale]


def _require(*packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(package, extra="export", purpose="exporting to ONNX") from error


def _exported(module: nn.Module) -> Any:
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch"), 2: dim("height"), 3: dim("width")}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        try:
            return torch.onnx.export(
                module,
                (torch.rand(_EXAMPLE),),
                None,
                dynamo=True,
                input_names=["lq"],
                output_names=["sr"],
                dynamic_shapes=shapes,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # whatever an exporter meets that it does not know
            told = str(error).strip().splitlines() or [type(error).__name__]
            name = type(module.model).__name__
            raise PlanError(f"{name} cannot be exported to ONNX ({told[0][:120]}); use torch") from error


def _name_weights(program: Any, model: nn.Module, config: dict[str, Any]) -> None:
    """Gives the initialisers the network's own keys, and the file its metadata."""
    import onnx_ir

    graph, state = program.model.graph, model.state_dict()
    for name, value in list(graph.initializers.items()):
        key = name.removeprefix(_PREFIX)
        if key != name and key in state:
            del graph.initializers[name]
            value.name = key
            graph.initializers[key] = value
    for key, tensor in state.items():  # what other outputs need, and the graph does not: kept for loading
        if key not in graph.initializers:
            values = onnx_ir.tensor(tensor.numpy(), name=key)
            graph.initializers[key] = onnx_ir.Value(
                name=key,
                shape=onnx_ir.Shape(tensor.shape),
                type=onnx_ir.TensorType(values.dtype),
                const_value=values,
            )
    program.model.metadata_props.update({ONNX_CONFIG: json.dumps(config), ONNX_KEYS: json.dumps(list(state))})


def _difference(model: nn.Module, path: Path) -> float:
    """Largest difference between the file by onnxruntime and the model by torch, at three sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for shape in _CHECKED:
            x = torch.rand(shape, generator=generator)
            with torch.inference_mode():
                expected = model(x)
            found = torch.from_numpy(session.run(None, {"lq": x.numpy()})[0])
            if found.shape != expected.shape:
                return float("inf")
            worst = max(worst, float((found - expected).abs().max()))
    except Exception as error:  # its own kinds have no public base
        name = type(model).__name__
        raise PlanError(
            f"{name} as ONNX does not run in onnxruntime at every size; it was not written"
        ) from error
    return worst
