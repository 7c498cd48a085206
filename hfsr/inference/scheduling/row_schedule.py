"""Schedule of execution in rows: the rows of each feature map to compute and to free, band by band."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from ..program.geometry import UNBOUNDED, Region
from ..program.operators import Pointwise
from ..program.program import Program, Stage
from ..program.sized_program import SizedProgram
from .band_heights import BandHeights, wide_nodes
from .virtual_concat import is_virtual_concat, row_readers, row_sources

__all__ = ["Band", "RowSchedule", "RowStep", "needed_stops"]

_NEVER = 1 << 62
"""A row beyond every feature map: nothing above it is needed."""


@dataclass(frozen=True)
class RowStep:
    """The rows of one feature map that a band computes.

    Attributes:
        node: the feature map.
        start, stop: its rows, in its own px.
        top: first row that must be contiguous with these, because windows reach from there to them.
        drops: feature maps that need fewer rows afterwards: (node, first row still needed).
    """

    node: fx.Node
    start: int
    stop: int
    top: int
    drops: tuple[tuple[fx.Node, int], ...]


@dataclass(frozen=True)
class Band:
    """A band of rows of the image, the steps that compute it, and the target regions that it owns.

    Attributes:
        part: the rows; above the image (negative) while the first feature maps are ahead of the targets.
        owned: regions of the targets; empty above the image.
        steps: in order of execution.
        drops: as in `RowStep`, for the targets once the band has been read from them.
    """

    part: Region
    owned: dict[fx.Node, Region]
    steps: list[RowStep]
    drops: tuple[tuple[fx.Node, int], ...]


class RowSchedule:
    """Plans one band after another from the rows that are done; no row is computed twice.

    The first bands lie above the image, where the first feature maps of a deep stage start to be needed. This
    gives all bands about the same height; otherwise the first one would be as high as the receptive field of
    the stage. Live feature maps are kept whole, so their rows are never dropped.
    """

    def __init__(self, sized: SizedProgram, stage: Stage, heights: BandHeights) -> None:
        program = sized.program
        self._sized = sized
        self._stage = stage
        self._targets = program.targets(stage)
        self._heights = heights
        self._wide = wide_nodes(sized, stage)
        self._done = dict.fromkeys((n for n in stage.nodes if not is_virtual_concat(program, n)), 0)
        self._kept = set(stage.keeps)
        self._held_from = {n: 0 for n in self._targets if n in self._done and n not in self._kept}
        self._sources = {node: row_sources(program, node) for node in self._done}
        self._readers = _readers(program, self._sources)
        self._window_readers = {
            node: [n for n in node.users if n in self._done and not _is_pointwise(program, n)]
            for node in self._done
        }
        leads = _leads(sized, stage)
        lead = max(leads.values(), default=0)
        # One more band, unless it has hardly any work: small bands are slow.
        above = -(-lead // heights.rows) * heights.rows if 4 * lead > heights.rows else 0
        self._top = self._ahead = -above
        self._wide_lead = max((leads[node] for node in self._wide if node in leads), default=0)

    @property
    def nodes(self) -> list[fx.Node]:
        """Feature maps that are computed step by step."""
        return list(self._done)

    def next_band(self) -> Band | None:
        """Returns the band below the finished ones; None after the last. Does not change the state."""
        image = self._sized.image
        if self._top >= image.height:
            return None
        if self._ahead <= self._top:
            self._ahead = min(self._top + self._heights.rows, image.height if self._top >= 0 else 0)
        bottom = min(self._top + self._heights.wide, self._ahead)
        if self._ahead <= -self._wide_lead:
            bottom = self._ahead  # wide feature maps are not needed yet
        part = Region(self._top, bottom, 0, image.width)
        owned = self._sized.owned(self._stage, part) if bottom > 0 else {}
        stops = self._stops(bottom)
        if bottom < self._ahead:
            narrow = self._stops(self._ahead)
            stops.update({node: stop for node, stop in narrow.items() if node not in self._wide})
        spans = {n: (start, stops[n]) for n, start in self._done.items() if stops.get(n, 0) > start}
        after = {**self._done, **{node: stop for node, (_, stop) in spans.items()}}
        return Band(part, owned, self._steps(spans, after), self._end_drops(part, after))

    def finish(self, node: fx.Node, stop: int) -> None:
        """Records that the rows of a feature map above `stop` are done."""
        self._done[node] = stop

    def finish_band(self, band: Band) -> None:
        """Records that all steps of a band are done."""
        self._top = band.part.bottom
        for node, first in band.drops:
            self._held_from[node] = first

    def first_needed(self, node: fx.Node) -> int:
        """Returns the first row of a feature map that its readers in this stage still need."""
        return self._first_needed(node, self._done)

    def shrink(self) -> bool:
        """Halves the remaining bands; returns False if they have one row."""
        if self._heights.rows == self._heights.wide == 1:
            return False
        self._heights = self._heights.halve()
        self._ahead = self._top
        return True

    def _steps(self, spans: dict[fx.Node, tuple[int, int]], after: dict[fx.Node, int]) -> list[RowStep]:
        last_reader = {source: node for node in spans for source in self._sources[node]}
        drops: dict[fx.Node, list[tuple[fx.Node, int]]] = {}
        for source, reader in last_reader.items():
            if source in self._done and source not in self._held_from and source not in self._kept:
                drops.setdefault(reader, []).append((source, self._first_needed(source, after)))
        return [
            RowStep(node, start, stop, self._contiguous_from(node, start), tuple(drops.get(node, ())))
            for node, (start, stop) in spans.items()
        ]

    def _contiguous_from(self, node: fx.Node, start: int) -> int:
        return min(start, self._first_of(self._window_readers[node], self._done))

    def _end_drops(self, part: Region, after: dict[fx.Node, int]) -> tuple[tuple[fx.Node, int], ...]:
        ends = []
        for node, held in self._held_from.items():
            # A band may own no row of a feature map smaller than the image: its rows wait for a later band.
            read = self._sized.rescale(part, node).bottom
            first = min(self._first_needed(node, after), read, after[node])
            if held < first:
                ends.append((node, first))
        return tuple(ends)

    def _first_needed(self, node: fx.Node, done: dict[fx.Node, int]) -> int:
        return self._first_of(self._readers.get(node, []), done)

    def _first_of(self, readers: list[fx.Node], done: dict[fx.Node, int]) -> int:
        return min((self._first_row(reader, done[reader]) for reader in readers), default=_NEVER)

    def _first_row(self, reader: fx.Node, done: int) -> int:
        """Returns the first source row that an operator with `done` finished rows will read."""
        if done >= self._sized.sizes[reader].height:
            return _NEVER
        return max(self._sized.operators[reader].rows.input_range(done, done + 1)[0], 0)

    def _stops(self, bottom: int) -> dict[fx.Node, int]:
        """Returns the end row of each feature map that the targets above image row `bottom` need."""
        sized, part = self._sized, Region(0, bottom, 0, self._sized.image.width)
        stops = {node: sized.rescale(part, node).bottom for node in self._targets}
        return needed_stops(sized, self._stage, stops)


def needed_stops(sized: SizedProgram, stage: Stage, stops: dict[fx.Node, int]) -> dict[fx.Node, int]:
    """Returns the end row of each feature map of a stage that computing `stops` needs; 0 or less for none."""
    stops, operators, sizes = dict(stops), sized.operators, sized.sizes
    inside = set(stage.nodes)
    for node in reversed(stage.nodes):
        if node in stops:
            op = operators[node]
            end = op.rows.input_range(stops[node] - 1, stops[node])[1]
            for source in op.sources:
                if source in inside:
                    clipped = min(end, sizes[source].height)
                    stops[source] = max(stops.get(source, clipped), clipped)
    return stops


def _leads(sized: SizedProgram, stage: Stage) -> dict[fx.Node, int]:
    """Returns the rows of the image by which each feature map of a stage must be ahead of the targets."""
    unbounded = sized.unbounded
    stops = needed_stops(unbounded, stage, dict.fromkeys(sized.program.targets(stage), 0))
    return {node: stop * UNBOUNDED.height // unbounded.sizes[node].height for node, stop in stops.items()}


def _readers(program: Program, sources: dict[fx.Node, list[fx.Node]]) -> dict[fx.Node, list[fx.Node]]:
    """Returns the readers in a stage of every feature map that it reads, including those of earlier stages.

    Args:
        program: program of the stage.
        sources: feature maps whose rows each node of the stage reads.
    """
    read = {source for found in sources.values() for source in found}
    return {node: [reader for reader in row_readers(program, node) if reader in sources] for node in read}


def _is_pointwise(program: Program, node: fx.Node) -> bool:
    return isinstance(program.operators[node], Pointwise)
