"""Networks in MATLAB .mat files: those that MatConvNet saved (`DagNN.saveobj`), and plain chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfsr.errors import CheckpointError, MissingDependencyError

__all__ = ["read_matconvnet"]


def read_matconvnet(path: Path) -> dict[str, Tensor]:
    """Reads the parameters of a network, in PyTorch's order of axes.

    The filter of a convolution becomes (outputs, inputs, height, width), that of a transposed one (inputs,
    outputs, height, width), and a bias a vector.

    Returns:
        Tensors under "layer.parameter"; "layers.0.weight", ... for a `model` with cells `weight` and
        `bias`. A parameter that several layers share is listed under each of them, an unused one under its
        name.

    Raises:
        CheckpointError: the file is not an intact .mat file, or holds no such network.
        MissingDependencyError: scipy is not installed.
    """
    content = _load(path)
    if "model" in content:
        return _chain(path, content["model"])
    network = content.get("net", content)
    values = {_text(entry["name"]): entry["value"] for entry in _entries(network, "params")}
    if not values:
        raise CheckpointError(f"'{path}' holds no MatConvNet network: a 'net' with 'params' and 'layers'")
    tensors = {name: _tensor(path, name, value) for name, value in values.items()}
    shared = {}
    for layer in _entries(network, "layers"):
        for name in (_text(parameter) for parameter in np.ravel(layer["params"])):
            if name not in tensors:
                raise CheckpointError(f"'{path}' is broken: its layers name '{name}', which it does not hold")
            shared[f"{_text(layer['name'])}.{name}"] = tensors[name]
    used = {key.rpartition(".")[2] for key in shared}
    return {**shared, **{name: tensor for name, tensor in tensors.items() if name not in used}}


def _chain(path: Path, model: Any) -> dict[str, Tensor]:
    """Reads a chain of convolutions: `model.weight{i}` and `model.bias{i}`, the layout of VDSR's weights."""
    names = getattr(getattr(model, "dtype", None), "names", None) or ()
    if not {"weight", "bias"} <= set(names) or model.size != 1:
        raise CheckpointError(f"'{path}' holds a 'model' without the cells 'weight' and 'bias'")
    cells = {name: np.ravel(model.reshape(-1)[0][name]) for name in ("weight", "bias")}
    return {
        f"layers.{i}.{name}": _tensor(path, f"{name}{{{i + 1}}}", value)
        for name, values in cells.items()
        for i, value in enumerate(values)
    }


def _load(path: Path) -> Mapping[str, Any]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise MissingDependencyError("scipy", extra="train", purpose="reading a .mat file") from error
    try:
        return loadmat(path, squeeze_me=False, struct_as_record=True, mat_dtype=False)
    except NotImplementedError as error:
        raise CheckpointError(
            f"'{path}' is a MATLAB file of version 7.3, which cannot be read; save it in MATLAB with '-v7'"
        ) from error
    except Exception as error:  # another file can raise any exception
        raise CheckpointError(f"'{path}' is not an intact MATLAB file; download or save it again") from error


def _entries(network: Any, field: str) -> Iterator[Any]:
    """Yields the entries of an array of structs, as `struct('name', {...}, ...)` creates it."""
    if isinstance(network, np.ndarray) and network.dtype.names and network.size == 1:
        network = network.reshape(-1)[0]
        names = network.dtype.names or ()
    else:
        names = tuple(network) if isinstance(network, Mapping) else ()
    if field in names and isinstance(network[field], np.ndarray) and network[field].dtype.names:
        yield from np.ravel(network[field])


def _text(value: Any) -> str:
    """Returns the text of a char array, which may be inside a cell."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return str(value)


def _tensor(path: Path, name: str, value: Any) -> Tensor:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim > 4:
        raise CheckpointError(f"'{path}' holds '{name}', which is neither a filter nor a bias")
    if value.ndim == 2 and 1 in value.shape:
        vector = np.ravel(value)
        return torch.from_numpy(vector.astype(np.float32))
    # MATLAB drops trailing axes of length 1: a 3x3 filter of one input and one output has two axes.
    filters = value.reshape(*value.shape, *[1] * (4 - value.ndim)).transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(filters, np.float32))
