"""Reading of the weights that `hfsr export` stores in an ONNX file under the network's own keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hfsr.errors import CheckpointError, MissingDependencyError

__all__ = ["ONNX_CONFIG", "ONNX_DTYPE", "ONNX_KEYS", "read_onnx"]

ONNX_CONFIG = "hfsr_config"
"""Metadata entry of the file: the content of config.json."""
ONNX_DTYPE = "hfsr_dtype"
"""Metadata key of the dtype of a small file; a float32 file does not have it."""
ONNX_KEYS = "hfsr_keys"
"""Metadata entry of the file: the names of the initializers that are the network's weights, a JSON list."""


def read_onnx(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors under the network's keys, and its config.

    Raises:
        CheckpointError: the file is not an intact ONNX file, or hfsr did not write it.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise MissingDependencyError("onnx", extra="export", purpose="reading .onnx files") from error
    try:
        model = onnx.load(path)
    except (DecodeError, OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is not an intact ONNX file; export the model again") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if ONNX_DTYPE in metadata:
        raise CheckpointError(
            f"'{path}' is of {metadata[ONNX_DTYPE]}, made for onnxruntime, and holds no weights to load; "
            "name the model that it was exported from"
        )
    try:
        keys, config = json.loads(metadata[ONNX_KEYS]), json.loads(metadata[ONNX_CONFIG])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"'{path}' was not written by hfsr export, and hfsr does not load other ONNX graphs; "
            "load the checkpoint that it was exported from"
        ) from error
    wanted = set(keys)
    return {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
        if tensor.name in wanted
    }, config
