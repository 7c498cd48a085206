"""Selection of the backend: the requested one, or for "auto" the faster one that is installed."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from hfsr.errors import MissingDependencyError, OptionsError, suggest
from hfsr.model_zoo import spec_of

__all__ = ["BACKENDS", "choose_backend", "reason_for_torch"]

BACKENDS = ("torch", "openvino")
_COMPILABLE = ("local", "pooled")
"""Tiling kinds whose stages can be compiled for one window shape."""


def choose_backend(name: str, model: nn.Module, device: torch.device) -> str:
    """Returns the named backend; "auto" is OpenVINO if installed and the network is local, else torch.

    A pooled network has a stage between any two pools. Compiled separately, with their feature maps copied
    window by window, these stages take longer than torch (A2N 1.8 times, RCAN more).

    Args:
        name: "torch", "openvino" or "auto".
        model: a restorer.
        device: device of the run.

    Raises:
        OptionsError: the name is unknown, or the backend does not run this network or device.
        MissingDependencyError: OpenVINO was requested and is not installed.
    """
    if not isinstance(name, str):
        raise OptionsError(f"backend {name!r} is not allowed; use {', '.join(BACKENDS)} or auto")
    if name not in (*BACKENDS, "auto"):
        raise OptionsError(f"backend '{name}' is unknown{suggest(name, [*BACKENDS, 'auto'])}")
    if name == "torch":
        return name
    if name == "auto":
        return "openvino" if reason_for_torch(model, device) is None else "torch"
    tiling = _tiling(model)
    if not _is_installed():
        raise MissingDependencyError("openvino", extra="openvino", purpose="the backend openvino")
    if device.type != "cpu":
        raise OptionsError(f"backend openvino runs on the CPU, not on {device}; use --device cpu, or torch")
    if tiling not in _COMPILABLE:
        raise OptionsError(
            f"backend openvino runs local and pooled networks; {type(model).__name__} is {tiling}: use torch"
        )
    return name


def reason_for_torch(model: nn.Module, device: torch.device) -> str | None:
    """Returns the reason for which "auto" runs a network by torch; None if OpenVINO is as fast or faster."""
    if device.type != "cpu":
        return f"openvino runs on the CPU, not on {device}"
    if not _is_installed():
        return "openvino is not installed"
    tiling = _tiling(model)
    if tiling == "pooled":
        return "the network pools over the image, and openvino would be slower on its many stages"
    return None if tiling == "local" else f"openvino runs local and pooled networks, and this one is {tiling}"


def _tiling(model: nn.Module) -> str:
    spec = spec_of(model)
    return "local" if spec is None else spec.tiling


def _is_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None
