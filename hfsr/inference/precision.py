"""Which number format a device computes in natively, and what a network allows."""

from __future__ import annotations

import torch
from torch import nn

from hfsr.errors import OptionsError, suggest
from hfsr.zoo import spec_of

__all__ = ["DTYPES", "choose_device", "choose_dtype", "dtype_name", "is_native_bf16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str | torch.device | None) -> torch.device:
    """The named device; without a name CUDA where there is one, else the CPU.

    Raises:
        OptionsError: there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionsError(f"device '{name}' is unknown; use cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionsError(f"device '{name}' is not available: this torch sees no CUDA device; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise OptionsError(f"device '{name}' is not supported; use cpu, cuda or cuda:N")
    return device


def choose_dtype(name: str, model: nn.Module, device: torch.device) -> torch.dtype:
    """The named format; "auto" is bf16 where the device has it natively and the network allows it, else fp32.

    Raises:
        OptionsError: an unknown name, or a format that overflows in this network or does not run on this
        device.
    """
    spec = spec_of(model)
    if name == "auto":
        return torch.bfloat16 if spec is not None and spec.bf16 and is_native_bf16(device) else torch.float32
    if name not in DTYPES:
        raise OptionsError(f"dtype '{name}' is unknown{suggest(name, ['auto', *DTYPES])}")
    if name == "fp16" and spec is not None and not spec.fp16:
        raise OptionsError(f"{spec.name} overflows in fp16; use bf16 or fp32")
    if name == "fp16" and device.type == "cpu":
        raise OptionsError("fp16 is slow and incomplete on a CPU; use bf16 or fp32")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """The short name of a format: fp32, bf16 or fp16."""
    return next(name for name, value in DTYPES.items() if value == dtype)


def is_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe)() for probe in probes if hasattr(torch.cpu, probe))
