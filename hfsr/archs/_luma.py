"""Helpers for luma networks: RGB goes in and out, the network processes the luma only.

The papers upscale Cb and Cr by bicubic interpolation and let the network predict Y. Color conversion is
linear, so the same image results from upscaling RGB by bicubic interpolation and adding to each channel the
difference between the network's luma and the upscaled luma. This keeps gray exactly gray.
"""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from torch import Tensor, nn

from ._resize import Bicubic

__all__ = [
    "LumaRestorer",
    "add_to_luma",
    "has_one_channel",
    "luma",
    "supports_one_channel",
    "with_luma",
]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_RED, _GREEN, _BLUE = 65.481 / 255, 128.553 / 255, 24.966 / 255
_BLACK = 16 / 255
_RANGE = _RED + _GREEN + _BLUE
"""Luma of white minus luma of black: 219 of 255."""


def luma(rgb: Tensor) -> Tensor:
    """Luma as in MATLAB's `rgb2ycbcr` (ITU-R BT.601), the one of benchmarks and papers.

    Args:
        rgb: RGB in [0, 1], (B, 3, H, W).

    Returns:
        Y in [16/255, 235/255], (B, 1, H, W).
    """
    return rgb[:, 0:1] * _RED + rgb[:, 1:2] * _GREEN + rgb[:, 2:3] * _BLUE + _BLACK


def add_to_luma(rgb: Tensor, difference: Tensor) -> Tensor:
    """Adds `difference`, (B, 1, H, W), to the luma of an image and keeps its chroma."""
    return rgb + difference * (1 / _RANGE)


def with_luma(rgb: Tensor, y: Tensor) -> Tensor:
    """Replaces the luma of an image by `y`, (B, 1, H, W), and keeps its chroma."""
    return add_to_luma(rgb, y - luma(rgb))


def has_one_channel(model: nn.Module) -> bool:
    """Returns True if a network was built from one channel to one by `num_in_ch` and `num_out_ch`."""
    arguments = getattr(model, "model_args", {})
    return arguments.get("num_in_ch") == 1 and arguments.get("num_out_ch", 1) == 1


def supports_one_channel(cls: type[ModuleT]) -> type[ModuleT]:
    """Class decorator, above `records_arguments`: built for one channel, the network is a luma network.

    It then restores the luma of RGB images and leaves their chroma to bicubic interpolation, so that it keeps
    the contract of restorers. A tensor of one channel is restored as it is.
    """
    init, core = cls.__init__, cls.core  # type: ignore[attr-defined]

    @functools.wraps(init)
    def init_with_enlargement(self: Any, **arguments: Any) -> None:
        init(self, **arguments)
        if has_one_channel(self):
            self.enlarge_chroma = Bicubic(self.scale)

    @functools.wraps(core)
    def core_for_rgb(self: Any, x: Tensor) -> Tensor:
        # While the graph is traced, x is no tensor: the graph is that for RGB.
        if not has_one_channel(self) or (isinstance(x, Tensor) and x.shape[1] == 1):
            return core(self, x)
        return with_luma(self.enlarge_chroma(x), core(self, luma(x)))

    cls.__init__ = init_with_enlargement  # type: ignore[method-assign]
    cls.core = core_for_rgb  # type: ignore[attr-defined]
    return cls


class LumaRestorer(nn.Module):
    """Restores RGB by a one-channel network of another package: luma by the network, chroma by bicubic.

    Networks of `ARCHS` do so themselves (`supports_one_channel`).

    Args:
        network: maps (B, 1, H, W), the luma, to (B, 1, H*scale, W*scale); shared, not copied.
        scale: output px per input px.
    """

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.enlarge = Bicubic(scale) if scale > 1 else None
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        """Restores RGB in [0, 1], (B, 3, H, W), to (B, 3, H*scale, W*scale)."""
        return with_luma(x if self.enlarge is None else self.enlarge(x), self.network(luma(x)))
