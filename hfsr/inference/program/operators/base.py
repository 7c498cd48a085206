"""Base class of the operators, and the protocol by which they read their inputs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, fx

from hfsr.errors import PlanError

from ..geometry import AxisGeometry, Region, Size, UpscaleAxis

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Operator", "OperatorInputs", "crop", "margins"]

_POINTWISE = (UpscaleAxis(), UpscaleAxis())


class OperatorInputs(Protocol):
    """Interface through which an operator reads its inputs while it computes one region."""

    def feature(self, node: fx.Node, region: Region) -> Tensor:
        """Returns a region of a feature map, (B, C, region.height, region.width)."""

    def value(self, node: fx.Node) -> Tensor:
        """Returns a constant, or a vector made from pooled statistics."""

    def size(self, node: fx.Node) -> Size:
        """Returns the size of a whole feature map."""


class Operator:
    """A node of the graph that produces a feature map.

    Attributes:
        node: its node in the graph.
        sources: the feature maps that it reads.
        rows, columns: its geometry along both axes.
        compute_dtype: dtype of its arithmetic; None for that of its inputs. Set by `lower`, as the next two.
        dtype: dtype of its output.
        inplace_source: the source whose memory its output may reuse.
    """

    def __init__(
        self, node: fx.Node, sources: list[fx.Node], axes: tuple[AxisGeometry, AxisGeometry] = _POINTWISE
    ) -> None:
        self.node = node
        self.sources = sources
        self.rows, self.columns = axes
        self.compute_dtype: torch.dtype | None = None
        self.dtype = torch.float32
        self.inplace_source: fx.Node | None = None

    def size(self, source: Size) -> Size:
        """Returns the size of the output for inputs of size `source`."""
        return Size(self.rows.size(source.height), self.columns.size(source.width))

    def input_region(self, region: Region) -> Region:
        """Returns the input region that `region` of the output depends on, not clipped to the feature map."""
        top, bottom = self.rows.input_range(region.top, region.bottom)
        left, right = self.columns.input_range(region.left, region.right)
        return Region(top, bottom, left, right)

    def channels(self, sources: list[int]) -> int:
        """Returns the channels of the output, given those of the sources."""
        return max(sources)

    def cost(self, channels: int) -> float:
        """Returns the floating-point operations per output px."""
        return float(channels)

    def workspace_bytes(self, size: Size, channels: int) -> int:
        """Returns the bytes that computing a region holds besides copies of its input and output.

        Args:
            size: size of the region.
            channels: channels of the output.
        """
        return 0

    def lower(
        self,
        device: torch.device,
        *,
        dtype: torch.dtype,
        compute_dtype: torch.dtype | None,
        inplace_source: fx.Node | None,
    ) -> Self:
        """Returns a copy with these attributes and with its weights on `device` in `compute_dtype`."""
        lowered = copy.copy(self)
        lowered.dtype, lowered.compute_dtype = dtype, compute_dtype
        lowered.inplace_source = inplace_source
        lowered._load_weights(device)
        return lowered

    def _load_weights(self, device: torch.device) -> None:
        """Copies the weights to `device` in `compute_dtype`."""

    def run(self, region: Region, inputs: OperatorInputs) -> Tensor:
        """Computes exactly `region` of the output."""
        raise PlanError(f"operator {type(self).__name__} cannot run")

    def run_into(self, region: Region, inputs: OperatorInputs, out: Tensor) -> None:
        """Computes exactly `region` of the output into `out`."""
        out.copy_(self.run(region, inputs))


def margins(need: Region, inside: Region) -> tuple[int, int, int, int]:
    """Returns the left, right, top and bottom px by which `need` exceeds the feature map."""
    return (
        inside.left - need.left,
        need.right - inside.right,
        inside.top - need.top,
        need.bottom - inside.bottom,
    )


def crop(y: Tensor, top: int, left: int, region: Region) -> Tensor:
    """Returns the part of `y`, as large as `region`, that starts at `top` and `left`."""
    if y.shape[-2:] == (region.height, region.width):
        return y
    return y[..., top : top + region.height, left : left + region.width]
