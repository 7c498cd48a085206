"""The weights in an ONNX file of ours: `hfsr export` writes them under the network's own keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hfsr.errors import CheckpointError, MissingDependencyError

__all__ = ["ONNX_CONFIG", "ONNX_KEYS", "read_onnx"]

ONNX_CONFIG = "hfsr_config"
"""In the file's metadata: what config.json says."""
ONNX_KEYS = "hfsr_keys"
"""In the file's metadata: the names of the initializers that are the network's weights, a JSON list."""


def read_onnx(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors under the network's keys, and its config.

    Raises:
        CheckpointError: not a whole ONNX file, or one that hfsr did not write.
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
        raise CheckpointError(f"'{path}' is not a whole ONNX file; export the model again") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        keys, config = json.loads(metadata[ONNX_KEYS]), json.loads(metadata[ONNX_CONFIG])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"'{path}' was not written by hfsr export, and a foreign graph is no network of ours; "
            "load the checkpoint that it was made from"
        ) from error
    wanted = set(keys)
    return {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
        if tensor.name in wanted
    }, config
