"""Accelerators: CUDA, MPS and XPU by one set of functions. MPS and XPU are untested."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["ACCELERATORS", "device_module", "empty_cache", "is_available", "synchronize"]

ACCELERATORS = ("cuda", "mps", "xpu")
"""Device types other than the CPU that are accepted."""


def device_module(device: torch.device) -> Any:
    """Returns torch's module of a device type, such as `torch.cuda`."""
    return getattr(torch, device.type)


def is_available(kind: str) -> bool:
    """Returns True if this torch sees a device of the type."""
    return torch.backends.mps.is_available() if kind == "mps" else bool(getattr(torch, kind).is_available())


def synchronize(device: torch.device) -> None:
    """Waits until the device has done its work."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type != "cpu":
        device_module(device).synchronize(device)


def empty_cache(device: torch.device) -> None:
    """Returns memory that the device's allocator keeps."""
    if device.type != "cpu":
        device_module(device).empty_cache()
