"""Selection of the backend: the requested one, or for "auto" the faster one that is installed."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from hfsr.errors import MissingDependencyError, OptionsError, suggest
from hfsr.model_zoo import spec_of

from ..runtime.precision import is_native_bf16

__all__ = ["BACKENDS", "choose_backend", "reason_for_torch"]

BACKENDS = ("torch", "openvino")
_COMPILABLE = ("local", "pooled")
"""Tiling kinds whose stages can be compiled for one window shape."""
_NO_BF16 = "computes in bf16 only on a CPU that has it natively, and this one does not"


def choose_backend(name: str, model: nn.Module, device: torch.device, dtype: torch.dtype) -> str:
    """Returns the named backend; "auto" is OpenVINO if installed and the network is local, else torch.

    A pooled network runs whole in OpenVINO if it fits into memory, which is faster than torch, but compiling
    takes longer than one image gains (RCAN: half a minute). Otherwise its stages, with their feature maps
    copied window by window, take longer than torch (A2N 1.8 times, RCAN more).

    Args:
        name: "torch", "openvino" or "auto".
        model: a restorer.
        device: device of the run.
        dtype: dtype of the arithmetic.

    Raises:
        OptionsError: the name is unknown, or the backend does not run this network, device or dtype.
        MissingDependencyError: OpenVINO was requested and is not installed.
    """
    if not isinstance(name, str):
        raise OptionsError(f"backend {name!r} is not allowed; use {', '.join(BACKENDS)} or auto")
    if name not in (*BACKENDS, "auto"):
        raise OptionsError(f"backend '{name}' is unknown{suggest(name, [*BACKENDS, 'auto'])}")
    if name == "torch":
        return name
    if name == "auto":
        return "openvino" if reason_for_torch(model, device, dtype) is None else "torch"
    tiling = _tiling(model)
    if not _is_installed():
        raise MissingDependencyError("openvino", extra="openvino", purpose="the backend openvino")
    if device.type != "cpu":
        raise OptionsError(f"backend openvino runs on the CPU, not on {device}; use --device cpu, or torch")
    if tiling not in _COMPILABLE:
        raise OptionsError(
            f"backend openvino runs local and pooled networks; {type(model).__name__} is {tiling}: use torch"
        )
    if _lacks(dtype, device):
        raise OptionsError(f"backend openvino {_NO_BF16}; use dtype fp32, or the backend torch")
    return name


def reason_for_torch(model: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns the reason for which "auto" runs a network by torch; None if OpenVINO is as fast or faster."""
    if device.type != "cpu":
        return f"openvino runs on the CPU, not on {device}"
    if not _is_installed():
        return "openvino is not installed"
    if _lacks(dtype, device):
        return f"openvino {_NO_BF16}"
    tiling = _tiling(model)
    if tiling == "pooled":
        return "the network pools over the image, and openvino would take longer to compile it than it saves"
    return None if tiling == "local" else f"openvino runs local and pooled networks, and this one is {tiling}"


def _tiling(model: nn.Module) -> str:
    spec = spec_of(model)
    return "local" if spec is None else spec.tiling


def _lacks(dtype: torch.dtype, device: torch.device) -> bool:
    """Returns True where torch emulates bfloat16, and OpenVINO fails or silently computes in float32."""
    return dtype == torch.bfloat16 and not is_native_bf16(device)


def _is_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None
