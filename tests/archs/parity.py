"""Two implementations of one network, held against each other."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfsr.checkpoints import identify, load_weights


def assert_same_constructor(
    ours: type[nn.Module], theirs: type[nn.Module], *, further: tuple[str, ...] = ()
) -> None:
    """Same words, and the same defaults where the other has any.

    Ours may have arguments behind those of the other: an option file of BasicSR, which lacks them, must build
    BasicSR's network, so each has a default, and `assert_same_function` holds at that default.

    Args:
        further: names of these arguments.
    """
    mine, other = (inspect.signature(cls).parameters for cls in (ours, theirs))
    assert list(mine) == [*other, *further]
    for name in further:
        assert mine[name].default is not inspect.Parameter.empty, name
    for name, parameter in other.items():
        if parameter.default is not inspect.Parameter.empty:
            assert mine[name].default == parameter.default, name


def assert_same_function(ours: nn.Module, theirs: nn.Module) -> None:
    """Each loads the other's state dict strictly, in the same order, and then gives the same images.

    In float64: kernels of float32 differ between CPUs by as much as small mistakes of wiring would show.
    """
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.rand(2, 3, 9, 14, dtype=torch.float64)
    ours, theirs = ours.double(), theirs.double()
    for source, target in ((theirs, ours), (ours, theirs)):
        shake(source)
        target.load_state_dict(source.state_dict(), strict=True)
        with torch.no_grad():
            torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-9, atol=1e-9)


def shake(model: nn.Module) -> None:
    """Weights of ordinary size everywhere: a network that starts near zero hides its wiring."""
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else parameter.numel()
            parameter.normal_(0, fan_in**-0.5)


class Official:
    """A state dict of the EDSR family in its authors' layout, and the arithmetic of its layers.

    Args:
        mean: what `sub_mean` subtracts and `add_mean` adds, in [0, 1].
        drift: how far training has moved those layers.
    """

    def __init__(self, width: int, scale: int, *, mean: tuple[float, ...], drift: float) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.scale = scale
        for name, sign in (("sub_mean", -1), ("add_mean", 1)):
            self.tensors[f"{name}.weight"] = (torch.eye(3) + drift * torch.randn(3, 3)).view(3, 3, 1, 1)
            self.tensors[f"{name}.bias"] = sign * 255 * torch.tensor(mean) + 255 * drift * torch.randn(3)
        self.add("head.0", 3, width)
        stages = {1: [], 2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}[scale]
        for i, stage in enumerate(stages):
            self.add(f"tail.0.{2 * i}", width, width * stage**2)
        self.stages = stages
        self.add("tail.1", width, 3)

    def add(self, name: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        spread = (inputs * kernel * kernel) ** -0.5
        self.tensors[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * spread
        self.tensors[f"{name}.bias"] = torch.randn(outputs) * spread

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.conv2d(x, weight.to(x), bias.to(x), padding=weight.shape[-1] // 2)

    def tail(self, x: Tensor) -> Tensor:
        for i, stage in enumerate(self.stages):
            x = F.pixel_shuffle(self.conv(f"tail.0.{2 * i}", x), stage)
        return self.conv("tail.1", x)


def assert_converts(official: Official, expected: Any, *, cls: type[nn.Module]) -> nn.Module:
    """The official tensors are identified, and give ours the function `expected` (0..255 in, 0..255 out)."""
    spec, arguments, renamed = identify(official.tensors)
    assert spec.cls is cls
    model = cls(**arguments)
    assert model.scale == official.scale
    load_weights(model, renamed, source="the official layout")
    x = torch.rand(2, 3, 9, 14, dtype=torch.float64)
    with torch.no_grad():
        exact = expected(255 * x) / 255
        torch.testing.assert_close(model(x.float()).double(), exact, rtol=0, atol=1e-5)
    return model
