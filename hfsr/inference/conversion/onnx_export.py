"""Export of a network to an ONNX file for any batch, height and width, verified before it is written."""

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
from hfsr.atomic import replacing
from hfsr.checkpoints import ONNX_CONFIG, ONNX_KEYS, config_of
from hfsr.errors import CheckpointError, MissingDependencyError, OptionsError, PlanError
from hfsr.model_zoo import check_restorer, spec_of

__all__ = ["TOLERANCE", "difference_to_torch", "export_onnx"]

TOLERANCE = 1e-4
"""Largest difference to torch, for a range of 1, at which the file is kept."""
_CHECKED_SHAPES = ((1, 3, 33, 29), (2, 3, 16, 48), (1, 3, 51, 40))
_EXAMPLE_SHAPE = (2, 3, 24, 32)
_PREFIX = "model."
_UNSUPPORTED = {
    "windowed": "attends to the whole image, and its graph depends on the size",
    "positional": "enlarges by a real number, and its graph depends on the size of the image",
}


def export_onnx(model: nn.Module, path: str | Path) -> float:
    """Writes a model as ONNX: `lq` (B, 3, H, W) to `sr` (B, 3, H*scale, W*scale), RGB in [0, 1], float32.

    The file holds the weights under the network's own keys and, in its metadata, the config, so that
    `from_pretrained` can read it. It is compared with torch in onnxruntime at three sizes before it is moved
    to `path`.

    Args:
        model: a registered restorer; exported in float32.
        path: ends in .onnx.

    Returns:
        The largest difference to torch.

    Raises:
        OptionsError: the suffix is not .onnx, the model is quantized, or it restores no images.
        PlanError: the network has no graph for all sizes, or the file gives other results.
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        CheckpointError: the file cannot be written, or the network is not registered.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise OptionsError(f"'{path}' must end in .onnx")
    check_restorer(model)
    if input_ranges(model):
        raise OptionsError("a quantized model is not exported; export the original")
    _require("onnx", "onnxscript", "onnxruntime")
    config, spec = config_of(model), spec_of(model)
    if spec is not None and spec.extra is not None:
        raise PlanError(f"{spec.name} is a network of another package, which is not exported; use torch")
    if spec is not None and spec.tiling in _UNSUPPORTED:
        raise PlanError(f"{spec.name} {_UNSUPPORTED[spec.tiling]}: it cannot be an ONNX file; use torch")
    multiple = 1 if spec is None else spec.size_multiple(vars(model)["model_args"])
    model = model.eval()
    with replacing(path, error=CheckpointError) as partial:
        program = _export(_PaddedModel(model, multiple))
        _rename_weights(program, model, config)
        program.save(partial)
        found = difference_to_torch(model, partial)
        if found > TOLERANCE:
            raise PlanError(
                f"{type(model).__name__} as ONNX differs from torch by {found:.1e}; it was not written"
            )
    return found


class _PaddedModel(nn.Module):
    """`forward` for symbolic sizes: pads, runs `core`, crops."""

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


def _export(module: nn.Module) -> Any:
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch"), 2: dim("height"), 3: dim("width")}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")  # warnings of the exporter about itself
        try:
            return torch.onnx.export(
                module,
                (torch.rand(_EXAMPLE_SHAPE),),
                None,
                dynamo=True,
                input_names=["lq"],
                output_names=["sr"],
                dynamic_shapes=shapes,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # the exporter raises many types
            lines = str(error).strip().splitlines() or [type(error).__name__]
            name = type(module.model).__name__
            raise PlanError(f"{name} cannot be exported to ONNX ({lines[0][:120]}); use torch") from error


def _rename_weights(program: Any, model: nn.Module, config: dict[str, Any]) -> None:
    """Renames the initializers to the keys of the network and adds the metadata."""
    import onnx_ir

    graph, state = program.model.graph, model.state_dict()
    for name, value in list(graph.initializers.items()):
        key = name.removeprefix(_PREFIX)
        if key != name and key in state:
            del graph.initializers[name]
            value.name = key
            graph.initializers[key] = value
    for key, tensor in state.items():  # weights outside the graph: kept for loading
        if key not in graph.initializers:
            values = onnx_ir.tensor(tensor.numpy(), name=key)
            graph.initializers[key] = onnx_ir.Value(
                name=key,
                shape=onnx_ir.Shape(tensor.shape),
                type=onnx_ir.TensorType(values.dtype),
                const_value=values,
            )
    program.model.metadata_props.update({ONNX_CONFIG: json.dumps(config), ONNX_KEYS: json.dumps(list(state))})


def difference_to_torch(model: nn.Module, path: Path) -> float:
    """Largest difference between the file in onnxruntime and the model in torch, at three sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for shape in _CHECKED_SHAPES:
            x = torch.rand(shape, generator=generator)
            with torch.inference_mode():
                expected = model(x)
            found = torch.from_numpy(session.run(None, {"lq": x.numpy()})[0])
            if found.shape != expected.shape:
                return float("inf")
            worst = max(worst, float((found - expected).abs().max()))
    except Exception as error:  # its exceptions have no public base class
        name = type(model).__name__
        raise PlanError(
            f"{name} as ONNX does not run in onnxruntime at every size; it was not written"
        ) from error
    return worst
