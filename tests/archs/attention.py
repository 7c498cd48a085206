"""The attention of PyramidAttentionNet, PA-EDSR and CSNLN as their papers write it, and what it may hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hfsr.archs import _attention


def patches(x: Tensor, side: int = 3, stride: int = 1) -> Tensor:
    """All patches of a map (C, H, W), with zeros beyond the border, as filters (L, C, side, side)."""
    columns = F.unfold(x[None], side, padding=(side - stride) // 2, stride=stride)
    return columns[0].T.reshape(-1, x.shape[0], side, side)


def plain_attention(
    query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], *, factor: int = 1
) -> Tensor:
    """Scores of all key patches at all places, softmax of ten times the scores, all value patches pasted.

    Args:
        query: (1, D, H, W).
        keys: maps (1, D, h, w).
        values: maps (1, C, h*factor, w*factor).
        factor: by which the result is larger than the query.
    """
    filters = torch.cat([patches(key[0]) for key in keys])
    lengths = filters.square().sum((1, 2, 3), keepdim=True).sqrt()
    scores = F.conv2d(query, filters / lengths.clamp(min=1e-4), padding=1)
    weights = (10 * scores).softmax(1)
    pasted = torch.cat([patches(value[0], 3 * factor, factor) for value in values])
    return F.conv_transpose2d(weights, pasted, stride=factor, padding=factor)


def limit_blocks(monkeypatch: pytest.MonkeyPatch, side: int | None) -> None:
    """Has attention run in blocks of so many px to a side, however small the map; None: at once."""
    monkeypatch.setattr(_attention, "AT_ONCE", math.inf if side is None else 0)
    monkeypatch.setitem(_attention._SIDES, "cpu", side)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return result


def largest_tensor(model: nn.Module, side: int, *, gradients: bool) -> int:
    """Numbers in the largest tensor while an image of side x side px runs, and back where asked."""
    with Largest() as largest, torch.set_grad_enabled(gradients):
        y = model(torch.rand(1, 3, side, side))
        if gradients:
            y.square().mean().backward()
    return largest.numbers


def gradients(run: Callable[[], Tensor], sources: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a fixed weighing of all numbers that `run` returns."""
    y = run()
    return list(torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).to(y).view_as(y)).sum(), sources))


class Layers:
    """A made-up state dict in an official layout, and its layers by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def add(
        self,
        name: str,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        slope: str | None = None,
        turned: bool = False,
    ) -> None:
        """A convolution (turned: a transposed one), and the PReLU behind it where `slope` names it."""
        shape = (inputs, outputs) if turned else (outputs, inputs)
        self.tensors[f"{name}.weight"] = torch.randn(*shape, kernel, kernel) * (inputs * kernel**2) ** -0.5
        self.tensors[f"{name}.bias"] = 0.3 * torch.randn(outputs)
        if slope is not None:
            self.tensors[f"{slope}.weight"] = torch.rand(1)

    def add_embedding(self, name: str, inputs: int, outputs: int) -> None:
        self.add(f"{name}.0", inputs, outputs, 1, slope=f"{name}.1")

    def add_mean(self, drift: float = 0.0) -> None:
        """The frozen convolutions that subtract the mean of DIV2K and add it, in [0, 1]."""
        mean = torch.tensor((0.4488, 0.4371, 0.4040))
        for name, sign in (("sub_mean", -1), ("add_mean", 1)):
            self.tensors[f"{name}.weight"] = (torch.eye(3) + drift * torch.randn(3, 3)).view(3, 3, 1, 1)
            self.tensors[f"{name}.bias"] = sign * mean + drift * torch.randn(3)

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"].to(x), self.tensors[f"{name}.bias"].to(x)
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2 if padding is None else padding)

    def turned(self, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"].to(x), self.tensors[f"{name}.bias"].to(x)
        return F.conv_transpose2d(x, weight, bias, stride, padding)

    def prelu(self, name: str, x: Tensor) -> Tensor:
        return F.prelu(x, self.tensors[f"{name}.weight"].to(x))

    def embed(self, name: str, x: Tensor) -> Tensor:
        return self.prelu(f"{name}.1", self.conv(f"{name}.0", x))
