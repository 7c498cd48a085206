"""Memory and time of networks whose graph cannot be traced, measured on a small image."""

from __future__ import annotations

import functools
import time
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..program.geometry import Size
from ..runtime.accelerator import synchronize
from ..runtime.precision import run_with_autocast

__all__ = ["NetworkProfiler"]

_PROBE = 16
"""Side in px of the image on which memory is measured."""


class NetworkProfiler:
    """Memory, arithmetic and speed of a network, measured by running it.

    Args:
        model: a network in evaluation mode, on `device`.
        multiple: size multiple of the network.
        linear: True if its arithmetic grows with the area of the image, False for the square of the area.
        device: device of the network.
        dtype: float32, or the dtype of autocast.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        multiple: int,
        linear: bool,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._model = model
        self._multiple = multiple
        self._linear = linear
        self._device = device
        self._dtype = dtype

    @property
    def bytes_per_px(self) -> int:
        """Peak memory per px of the image; memory grows linearly with the area."""
        return self._measured[0]

    def flops(self, size: Size) -> float:
        """Returns the operations of an image, counted on meta tensors unless they are linear in its area."""
        if self._linear:
            return self._measured[1] * size.height * size.width
        tensors = dict([*self._model.named_parameters(), *self._model.named_buffers()])
        shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            functional_call(self._model, shapes, torch.empty(1, 3, *size, device="meta"))
        return float(counter.get_total_flops())

    def seconds_per_flop(self) -> float:
        """Seconds per floating-point operation, measured on a small image."""
        side = 2 * _PROBE + -_PROBE % self._multiple
        image = torch.zeros(1, 3, side, side, device=self._device)
        self._run(image)
        synchronize(self._device)
        started = time.perf_counter()
        self._run(image)
        synchronize(self._device)
        return (time.perf_counter() - started) / max(1.0, self.flops(Size(side, side)))

    def _run(self, image: Tensor) -> None:
        run_with_autocast(self._model, image, self._dtype)

    @functools.cached_property
    def _measured(self) -> tuple[int, float]:
        """Peak memory and floating-point operations per px."""
        side = _PROBE + -_PROBE % self._multiple
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), PeakMemoryMode() as live, counter:
            self._run(torch.zeros(1, 3, side, side, device=self._device))
        return live.peak // side**2 + 1, counter.get_total_flops() / side**2


class PeakMemoryMode(TorchDispatchMode):
    """Dispatch mode that tracks the memory of the tensors created while it is active.

    Attributes:
        peak: maximum of the bytes held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in given and key not in self._held:
                self._held[key] = storage.nbytes()
                weakref.finalize(storage, self._held.pop, key, None)
        self.peak = max(self.peak, sum(self._held.values()))
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
