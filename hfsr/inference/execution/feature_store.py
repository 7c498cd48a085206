"""Storage of the feature maps of one run: live ones between stages, rows and tiles within a stage."""

from __future__ import annotations

from torch import Tensor, fx

from ..program.geometry import Region
from .row_buffer import RowBuffer

__all__ = ["FeatureStore", "read_region"]


class FeatureStore:
    """Feature maps that are in memory.

    Attributes:
        live: feature maps that a later stage reads, whole.
        rows: the held rows of this stage's feature maps, in a run in rows.
        tiles: the held tile of this stage's feature maps, and its region, in a run in tiles.
    """

    def __init__(self) -> None:
        self.live: dict[fx.Node, Tensor | RowBuffer] = {}
        self.rows: dict[fx.Node, RowBuffer] = {}
        self.tiles: dict[fx.Node, tuple[Tensor, Region]] = {}

    def find(self, node: fx.Node, region: Region) -> Tensor | None:
        """Returns a region of a feature map, (1, C, height, width); None if the feature map is not held."""
        if node in self.tiles:
            tile, held = self.tiles[node]
            return _crop(tile, region, held)
        if node in self.rows:
            return self.rows[node].read(region)
        return read_region(self.live[node], region) if node in self.live else None

    def row_buffer(self, node: fx.Node) -> RowBuffer | None:
        """Returns the row buffer that holds a feature map, or None."""
        held = self.rows.get(node, self.live.get(node))
        return held if isinstance(held, RowBuffer) else None

    def clear_stage(self) -> None:
        """Frees all but the live feature maps."""
        self.tiles.clear()
        self.rows.clear()


def read_region(held: Tensor | RowBuffer, region: Region) -> Tensor:
    """Returns a region of a live feature map."""
    if isinstance(held, RowBuffer):
        return held.read(region)
    return held[..., region.top : region.bottom, region.left : region.right]


def _crop(tile: Tensor, region: Region, held: Region) -> Tensor:
    if region == held:
        return tile
    top, left = region.top - held.top, region.left - held.left
    return tile[..., top : top + region.height, left : left + region.width]
