"""The number format of a training run: mixed precision, if it makes training faster."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hfsr.errors import OptionsError
from hfsr.inference.runtime.precision import is_native_bf16
from hfsr.options import TrainOptions

__all__ = ["TrainingPrecision", "choose_precision"]


@dataclass(frozen=True)
class TrainingPrecision:
    """The number format that `use_amp` and `amp_bf16` select on a device."""

    mixed: str
    """accelerate's name: "no", "bf16" or "fp16"."""
    note: str | None = None
    """Reason for which this is not the precision that the option file requests."""

    @property
    def name(self) -> str:
        """fp32, bf16 or fp16."""
        return "fp32" if self.mixed == "no" else self.mixed


def choose_precision(options: TrainOptions, device: torch.device) -> TrainingPrecision:
    """Returns the precision of a run on a device; bf16 only if the device computes in it natively.

    Other devices emulate bf16, which on CPUs takes about ten times as long as fp32.

    Raises:
        OptionsError: if float16 is requested on a CPU.
    """
    if not options.use_amp:
        return TrainingPrecision("no")
    if options.amp_bf16:
        if is_native_bf16(device):
            return TrainingPrecision("bf16")
        advice = "" if device.type == "cpu" else "; amp_bf16: false trains in float16"
        what = "this CPU" if device.type == "cpu" else f"{device}"
        return TrainingPrecision(
            "no",
            f"use_amp: {what} does not compute in bf16 natively; training in fp32, which is faster{advice}",
        )
    if device.type == "cpu":
        raise OptionsError("amp_bf16: false means float16, which needs a GPU; on a CPU use amp_bf16: true")
    return TrainingPrecision("fp16")
