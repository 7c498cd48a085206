"""What all operators have in common, and what they may ask for."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, fx

from hfsr.errors import PlanError

from ..geometry import AxisRule, Enlarge, Region, Size

__all__ = ["MapOperator", "Workspace", "cropped", "margins"]

_POINTWISE = (Enlarge(), Enlarge())


class Workspace(Protocol):
    """What an operator may ask for while it computes one piece."""

    def patch(self, node: fx.Node, region: Region) -> Tensor:
        """This part of a map, (B, C, region.height, region.width)."""

    def value(self, node: fx.Node) -> Tensor:
        """A constant, or a vector made from pooled statistics."""

    def size(self, node: fx.Node) -> Size:
        """Size of a whole map."""


class MapOperator:
    """One node that produces a map.

    Attributes:
        node: its place in the graph.
        sources: the maps it reads.
        rows, columns: its geometry.
        compute: dtype it computes in (None: that of its inputs).
        dtype: dtype of what it returns.
        overwrites: the source whose memory it may reuse for its result.
    """

    def __init__(
        self, node: fx.Node, sources: list[fx.Node], axes: tuple[AxisRule, AxisRule] = _POINTWISE
    ) -> None:
        self.node = node
        self.sources = sources
        self.rows, self.columns = axes
        self.compute: torch.dtype | None = None
        self.dtype = torch.float32
        self.overwrites: fx.Node | None = None

    def size(self, source: Size) -> Size:
        return Size(self.rows.size(source.height), self.columns.size(source.width))

    def needs(self, region: Region) -> Region:
        """The input region that `region` of the output depends on, before clipping."""
        return Region(
            *self.rows.needs(region.top, region.bottom), *self.columns.needs(region.left, region.right)
        )

    def channels(self, sources: list[int]) -> int:
        return max(sources)

    def cost(self, channels: int) -> float:
        """Floating-point operations per output px."""
        return float(channels)

    def prepare(self, device: torch.device) -> None:
        """Makes the weights ready in `compute` dtype on `device`, once."""

    def run(self, region: Region, work: Workspace) -> Tensor:
        """Computes exactly `region` of the output."""
        raise PlanError(f"operator {type(self).__name__} cannot run")

    def run_into(self, region: Region, work: Workspace, out: Tensor) -> None:
        """Computes exactly `region` of the output into `out`."""
        out.copy_(self.run(region, work))


def margins(need: Region, inside: Region) -> tuple[int, int, int, int]:
    """Left, right, top and bottom px by which `need` reaches out of the map."""
    return (
        inside.left - need.left,
        need.right - inside.right,
        inside.top - need.top,
        need.bottom - inside.bottom,
    )


def cropped(y: Tensor, top: int, left: int, region: Region) -> Tensor:
    """The part of `y` of a region's size that begins at `top` and `left`."""
    if y.shape[-2:] == (region.height, region.width):
        return y
    return y[..., top : top + region.height, left : left + region.width]
