"""Weights on disk: released checkpoint files, identification of their network, and model folders.

A model folder holds `config.json` (the network and its arguments) and `model.safetensors` (the network's own
keys, with a copy of the config in its metadata). A single file without a config is identified from its
tensors: every registered network checks whether they are its own (`ArchSpec.rename`, `ArchSpec.infer`), so no
module of this package names a network. Loading is strict, and pickles never run code.
"""

from __future__ import annotations

from .files import read_state_dict
from .identification import identify, load_weights
from .interpolation import interpolate
from .models import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    at_scale,
    config_of,
    halved,
    load_checkpoint,
    load_run_checkpoint,
    read_file,
    read_model_folder,
    save_checkpoint,
    save_pth,
    write_model_folder,
)
from .onnx_file import ONNX_CONFIG, ONNX_DTYPE, ONNX_KEYS
from .repo_files import choose_weights

__all__ = [
    "CONFIG_NAME",
    "ONNX_CONFIG",
    "ONNX_DTYPE",
    "ONNX_KEYS",
    "WEIGHTS_NAME",
    "at_scale",
    "choose_weights",
    "config_of",
    "halved",
    "identify",
    "interpolate",
    "load_checkpoint",
    "load_run_checkpoint",
    "load_weights",
    "read_file",
    "read_model_folder",
    "read_state_dict",
    "save_checkpoint",
    "save_pth",
    "write_model_folder",
]
