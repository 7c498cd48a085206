"""What the networks of luma share: RGB goes in and out, the network itself sees only brightness.

The papers enlarge Cb and Cr by bicubic interpolation and let the network make Y. Colors and luma are linear,
so the same image comes from enlarging RGB by bicubic interpolation and adding to its three channels what
the network's luma differs from the enlarged one: that keeps gray exactly gray.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from ._resize import Bicubic
from ._spec import ArchSpec

__all__ = ["LumaRestorer", "add_to_luma", "luma", "with_luma"]

_RED, _GREEN, _BLUE = 65.481 / 255, 128.553 / 255, 24.966 / 255
_BLACK = 16 / 255
_RANGE = _RED + _GREEN + _BLUE
"""Luma of white less that of black: 219 of 255."""


def luma(rgb: Tensor) -> Tensor:
    """Luma as MATLAB's `rgb2ycbcr` makes it (ITU-R BT.601), in which benchmarks measure and papers trained.

    Args:
        rgb: RGB in [0, 1], (B, 3, H, W).

    Returns:
        Y in [16/255, 235/255], (B, 1, H, W).
    """
    return rgb[:, 0:1] * _RED + rgb[:, 1:2] * _GREEN + rgb[:, 2:3] * _BLUE + _BLACK


def add_to_luma(rgb: Tensor, difference: Tensor) -> Tensor:
    """Changes the luma of an image by `difference`, (B, 1, H, W), and leaves its chroma as it is."""
    return rgb + difference * (1 / _RANGE)


def with_luma(rgb: Tensor, y: Tensor) -> Tensor:
    """The chroma of an image, with the luma `y`, (B, 1, H, W)."""
    return add_to_luma(rgb, y - luma(rgb))


_RGB = {"num_in_ch": 3, "num_out_ch": 3}


class LumaRestorer(nn.Module):
    """Restores RGB by a network of one channel: it makes the luma, bicubic interpolation the chroma.

    Args:
        network: takes and gives (B, 1, H, W), the luma; shared, not copied.
        scale: output px per input px.
        spec: of the network, where it has one.
    """

    def __init__(self, network: nn.Module, scale: int, spec: ArchSpec | None = None) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.enlarge = Bicubic(scale) if scale > 1 else None
        self.model_args: dict[str, Any] = {**vars(network).get("model_args", {}), **_RGB}
        self.spec = spec
        if spec is not None:
            radius = spec.radius
            self.spec = dataclasses.replace(spec, luma=True, radius=lambda args: max(2, radius(args)))
        self.train(network.training)

    def core(self, x: Tensor) -> Tensor:
        core: Any = self.network.core
        return self._with_chroma(x, core(luma(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: RGB in [0, 1], (B, 3, H, W). Returns: RGB, nominally [0, 1], (B, 3, H*scale, W*scale)."""
        return self._with_chroma(x, self.network(luma(x)))

    def _with_chroma(self, x: Tensor, y: Tensor) -> Tensor:
        return with_luma(x if self.enlarge is None else self.enlarge(x), y)
