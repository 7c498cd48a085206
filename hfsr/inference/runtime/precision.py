"""Device and dtype of a run: what the hardware supports natively and what the network allows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hfsr.errors import OptionsError, suggest
from hfsr.model_zoo import spec_of

from .accelerator import ACCELERATORS, device_module, is_available

__all__ = [
    "DTYPES",
    "choose_device",
    "choose_dtype",
    "disable_tf32",
    "dtype_name",
    "is_native_bf16",
    "run_with_autocast",
]

_ISA_WITHOUT_BF16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)
_ISA_WITHOUT_AMX = frozenset({"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512"})
"""Values of ONEDNN_MAX_CPU_ISA."""
_ALLOWED = "cpu, cuda, mps or xpu, with an index as in cuda:1"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str | torch.device | None) -> torch.device:
    """Returns the named device; by default CUDA if available, else the CPU.

    Raises:
        OptionsError: the device does not exist.
    """
    if name is None:
        return _with_index(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise OptionsError(f"device '{name}' is unknown; use {_ALLOWED}") from error
    if device.type not in ("cpu", *ACCELERATORS):
        raise OptionsError(f"device '{name}' is not supported; use {_ALLOWED}")
    if device.type != "cpu" and not is_available(device.type):
        others = [kind for kind in ACCELERATORS if is_available(kind)]
        kind, advice = device.type.upper(), " or ".join([*others, "cpu"])
        raise OptionsError(
            f"device '{name}' is not available: this torch sees no {kind} device; use {advice}"
        )
    return _with_index(device)


def _with_index(device: torch.device) -> torch.device:
    """Returns the device with its index, as tensors report it: "cuda" becomes "cuda:0"."""
    if device.type == "cpu":
        return device
    count = device_module(device).device_count()
    index = device.index
    if index is None:
        index = 0 if device.type == "mps" else device_module(device).current_device()
    if index >= count:
        raise OptionsError(f"device '{device}' does not exist; the last is {device.type}:{count - 1}")
    return torch.device(device.type, index)


def choose_dtype(name: str | torch.dtype, model: nn.Module, device: torch.device) -> torch.dtype:
    """Returns the named dtype; "auto" is bf16 if the device and the network support it, else fp32.

    Raises:
        OptionsError: the name is unknown, the network overflows in this dtype, or the device lacks it.
    """
    spec = spec_of(model)
    if isinstance(name, torch.dtype):
        name = next((key for key, value in DTYPES.items() if value == name), str(name))
    if not isinstance(name, str):
        raise OptionsError(f"dtype {name!r} is not allowed; use auto, {', '.join(DTYPES)}")
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
    """Returns the short name of a dtype: fp32, bf16 or fp16."""
    return next(name for name, value in DTYPES.items() if value == dtype)


def is_native_bf16(device: torch.device) -> bool:
    """Returns True if the device multiplies bfloat16 in hardware, and on a CPU if oneDNN may use that.

    Instruction sets that `ONEDNN_MAX_CPU_ISA` excludes do not count, because bfloat16 is then emulated.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":  # Apple's older chips emulate it, and torch does not tell which
        return device.type == "xpu" and bool(getattr(torch.xpu, "is_bf16_supported", lambda: False)())
    limit = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()
    if limit in _ISA_WITHOUT_BF16:
        return False
    probes = ["_is_avx512_bf16_supported"]
    if limit not in _ISA_WITHOUT_AMX:
        probes.append("_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe)() for probe in probes if hasattr(torch.cpu, probe))


def run_with_autocast(model: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Runs a float32 model with its arithmetic in `dtype`; returns float32."""
    with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
        return model(x).float()


_lock = threading.Lock()
_users = 0
_before: list[Any] = []


@contextmanager
def disable_tf32(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Disables TF32 on a GPU within the block: with its 11 bits, tiles would differ from the whole image.

    The setting belongs to the process; it is restored when the last concurrent block ends.
    """
    global _users, _before
    if dtype != torch.float32 or device.type != "cuda":
        yield
        return
    with _lock:
        if _users == 0:
            _before = [_set_tf32(owner, name, off) for owner, name, off in _tf32_settings()]
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for (owner, name, _), value in zip(_tf32_settings(), _before, strict=True):
                    setattr(owner, name, value)


def _tf32_settings() -> list[tuple[Any, str, Any]]:
    """Returns object, attribute and value that disable TF32 for convolutions and for matrix products."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    if hasattr(cudnn, "conv"):  # torch >= 2.9, which forbids mixing with the older settings
        return [(cudnn.conv, "fp32_precision", "ieee"), (cuda.matmul, "fp32_precision", "ieee")]
    return [(cudnn, "allow_tf32", False), (cuda.matmul, "allow_tf32", False)]


def _set_tf32(owner: Any, name: str, value: Any) -> Any:
    """Sets an attribute and returns its old value."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before
