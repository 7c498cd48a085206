"""Heights of the bands in which rows of the image pass through a stage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from ..program.program import Stage
from ..program.sized_program import SizedProgram
from .virtual_concat import is_virtual_concat

__all__ = ["BandHeights", "choose_band_heights", "wide_nodes"]

_WIDE = 2
"""Feature maps are wide if their rows are larger than this many times those of the FLOP-median map."""


@dataclass(frozen=True)
class BandHeights:
    """Rows of the image that pass through a stage at a time.

    Attributes:
        rows: rows in most feature maps.
        wide: rows in wide feature maps, such as those of an upscaled image, and in all computed from them.
    """

    rows: int
    wide: int

    def count(self, height: int) -> int:
        """Returns the number of bands in an image of `height` rows."""
        full, rest = divmod(height, self.rows)
        return full * -(-self.rows // self.wide) + -(-rest // self.wide)

    def halve(self) -> BandHeights:
        """Returns half the heights, at least one row."""
        return BandHeights(-(-self.rows // 2), -(-self.wide // 2))


def choose_band_heights(sized: SizedProgram, stage: Stage, limit: int) -> BandHeights:
    """Returns band heights with which a band of a feature map takes about `limit` bytes.

    Bands have enough rows for efficient arithmetic, and few enough to stay in the caches and in the heap.
    """
    wide = wide_nodes(sized, stage)
    weights = _bytes_per_image_row(sized, stage)
    heaviest = max((weight for node, weight in weights.items() if node not in wide), default=1)
    rows = min(max(1, int(limit // heaviest)), sized.image.height)
    heaviest = max((weights.get(node, 0.0) for node in wide), default=heaviest)
    return BandHeights(rows, min(max(1, int(limit // heaviest)), rows))


def wide_nodes(sized: SizedProgram, stage: Stage) -> set[fx.Node]:
    """Returns the wide feature maps of a stage, and all that is computed from them."""
    weights = _bytes_per_image_row(sized, stage)
    # A convolution also processes its input, which in a dense block is larger than its output.
    handled = {
        node: max(weights.get(each, 0.0) for each in (node, *sized.operators[node].sources))
        for node in stage.nodes
    }
    total, done, median = sized.stage_flops(stage), 0.0, 0.0
    for node in sorted(stage.nodes, key=lambda n: handled[n]):
        done, median = done + sized.flops(node), handled[node]
        if done >= total / 2:
            break
    wide: set[fx.Node] = set()
    for node in stage.nodes:
        sources = sized.operators[node].sources
        if weights.get(node, 0.0) > _WIDE * median or any(source in wide for source in sources):
            wide.add(node)
    return wide


def _bytes_per_image_row(sized: SizedProgram, stage: Stage) -> dict[fx.Node, float]:
    """Returns the bytes of each feature map per row of the image, without virtual concatenations."""
    return {
        node: sized.map_bytes(node) / sized.image.height
        for node in stage.nodes
        if not is_virtual_concat(sized.program, node)
    }
