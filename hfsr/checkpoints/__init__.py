"""Weights on disk: reading any released file, telling whose weights they are, and model folders.

A model folder is `config.json` (what to build) beside `model.safetensors` (the network's own keys, and the
config once more in its metadata). A lone file without a config is identified from its tensors: every
registered network is asked whether they are its own (`ArchSpec.rename`, `ArchSpec.infer`), so no network's
name stands in this room. Loading is strict, and pickles never run code.
"""

from __future__ import annotations

from .files import read_state_dict
from .identity import identify, load_weights
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
from .onnx_file import ONNX_CONFIG, ONNX_KEYS
from .repo_files import choose_weights

__all__ = [
    "CONFIG_NAME",
    "ONNX_CONFIG",
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
