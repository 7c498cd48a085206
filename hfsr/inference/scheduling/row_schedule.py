"""The order of a stream of rows: which rows of which map are computed, and let go, band by band."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import fx

from ..program.geometry import UNBOUNDED, Region, Size
from ..program.operators import Convolution, Pointwise
from ..program.program import Program, Stage
from .virtual_concat import is_virtual_concat, row_readers, row_sources

__all__ = [
    "Band",
    "BandHeights",
    "RowSchedule",
    "RowStep",
    "choose_band_heights",
    "reusable_buffers",
    "stays_in_row_buffer",
    "wide_nodes",
]

_NEVER = 1 << 62
"""A row that no map has: nothing above it is needed."""
_WIDE = 2
"""A map is wide whose rows take so many times the bytes of those that most of the work goes into."""


@dataclass(frozen=True)
class BandHeights:
    """How many rows of the image go through a stage at a time.

    Attributes:
        rows: in most of its maps.
        wide: in its wide maps, such as those of an enlarged image, and in all that is made from them.
    """

    rows: int
    wide: int


@dataclass(frozen=True)
class RowStep:
    """One node's share of a band.

    Attributes:
        node: what is computed.
        start, stop: its rows, in its own px.
        top: the first row that must lie in one piece with these, because windows reach from there to them.
        drops: maps that need fewer rows from now on: (node, first row still needed).
    """

    node: fx.Node
    start: int
    stop: int
    top: int
    drops: tuple[tuple[fx.Node, int], ...]


@dataclass(frozen=True)
class Band:
    """A band of rows of the image, the steps that finish it, and what each target owns of it.

    Attributes:
        piece: the rows; they lie above the image while the stream runs in, and nobody owns them.
    """

    piece: Region
    owned: dict[fx.Node, Region]
    steps: list[RowStep]
    drops: tuple[tuple[fx.Node, int], ...]
    """What the targets need no more once the band is taken from them."""


class RowSchedule:
    """Plans band after band, from what is done so far; nothing is done twice.

    The first bands lie above the image, where a deep stage's first maps begin to be needed: so all of its
    bands are alike, where the first one would else be as high as windows reach through the whole stage.
    Kept maps are never dropped: they are whole.
    """

    def __init__(
        self, program: Program, stage: Stage, sizes: dict[fx.Node, Size], bands: BandHeights
    ) -> None:
        self._program = program
        self._stage = stage
        self._sizes = sizes
        self._image = sizes[program.source]
        self._bands = bands
        self._wide = wide_nodes(program, stage, sizes)
        self._done = dict.fromkeys((n for n in stage.nodes if not is_virtual_concat(program, n)), 0)
        kept = set(stage.keeps)
        self._kept = kept
        self._held_from = {n: 0 for n in program.targets(stage) if n in self._done and n not in kept}
        self._readers = _readers(program, self._done)
        self._windows = {
            node: [each for each in node.users if each in self._done and not _is_pointwise(program, each)]
            for node in self._done
        }
        leads = _leads(program, stage)
        lead = max(leads.values(), default=0)
        # A band more, unless it would be hardly any work: small bands are slow.
        self._top = self._ahead = -(-(-lead // bands.rows) * bands.rows if 4 * lead > bands.rows else 0)
        self._wide_lead = max((leads[node] for node in self._wide if node in leads), default=0)

    @property
    def nodes(self) -> list[fx.Node]:
        """The maps that are computed step by step."""
        return list(self._done)

    def next_band(self) -> Band | None:
        """The band below what is finished; None when everything is. Changes nothing by itself."""
        image = self._image
        if self._top >= image.height:
            return None
        if self._ahead <= self._top:
            self._ahead = min(self._top + self._bands.rows, image.height if self._top >= 0 else 0)
        bottom = min(self._top + self._bands.wide, self._ahead)
        if self._ahead <= -self._wide_lead:
            bottom = self._ahead  # wide maps are not yet needed
        piece = Region(self._top, bottom, 0, image.width)
        owned = self._program.owned(self._stage, piece, self._sizes) if bottom > 0 else {}
        stops = self._stops(bottom)
        if bottom < self._ahead:
            trunk = self._stops(self._ahead)
            stops.update({node: stop for node, stop in trunk.items() if node not in self._wide})
        spans = {n: (start, stops[n]) for n, start in self._done.items() if stops.get(n, 0) > start}
        after = {**self._done, **{node: stop for node, (_, stop) in spans.items()}}
        return Band(piece, owned, self._steps(spans, after), self._end_drops(piece, after))

    def finish(self, node: fx.Node, stop: int) -> None:
        """Takes note of rows that are done."""
        self._done[node] = stop

    def finish_band(self, band: Band) -> None:
        """Takes note of a band whose steps are all done."""
        self._top = band.piece.bottom
        for node, first in band.drops:
            self._held_from[node] = first

    def first_needed(self, node: fx.Node) -> int:
        """The first row of a map that its readers in this stage will still ask for."""
        return self._first_needed(node, self._done)

    def shrink(self) -> bool:
        """Halves the bands from here on; False when they have one row."""
        if self._bands.rows == self._bands.wide == 1:
            return False
        self._bands = BandHeights(-(-self._bands.rows // 2), -(-self._bands.wide // 2))
        self._ahead = self._top
        return True

    def _steps(self, spans: dict[fx.Node, tuple[int, int]], after: dict[fx.Node, int]) -> list[RowStep]:
        last_reader = {source: node for node in spans for source in row_sources(self._program, node)}
        drops: dict[fx.Node, list[tuple[fx.Node, int]]] = {}
        for source, reader in last_reader.items():
            if source in self._done and source not in self._held_from and source not in self._kept:
                drops.setdefault(reader, []).append((source, self._first_needed(source, after)))
        return [
            RowStep(node, start, stop, self._joined_from(node, start), tuple(drops.get(node, ())))
            for node, (start, stop) in spans.items()
        ]

    def _joined_from(self, node: fx.Node, start: int) -> int:
        return min(start, self._first_of(self._windows[node], self._done))

    def _end_drops(self, piece: Region, after: dict[fx.Node, int]) -> tuple[tuple[fx.Node, int], ...]:
        ends = []
        for node, held in self._held_from.items():
            # Of a map smaller than the image a band may own nothing: its rows wait for one that does.
            taken = piece.rescale(self._image, self._sizes[node]).bottom
            first = min(self._first_needed(node, after), taken, after[node])
            if held < first:
                ends.append((node, first))
        return tuple(ends)

    def _first_needed(self, node: fx.Node, done: dict[fx.Node, int]) -> int:
        return self._first_of(self._readers.get(node, []), done)

    def _first_of(self, readers: list[fx.Node], done: dict[fx.Node, int]) -> int:
        return min((self._first_row(reader, done[reader]) for reader in readers), default=_NEVER)

    def _first_row(self, reader: fx.Node, done: int) -> int:
        """The first row of its sources that a node with `done` finished rows will ask for."""
        if done >= self._sizes[reader].height:
            return _NEVER
        return max(self._program.operators[reader].rows.input_range(done, done + 1)[0], 0)

    def _stops(self, bottom: int) -> dict[fx.Node, int]:
        """Down to which row each map is needed by what owns the image down to `bottom`."""
        piece = Region(0, bottom, 0, self._image.width)
        targets = self._program.targets(self._stage)
        stops = {node: piece.rescale(self._image, self._sizes[node]).bottom for node in targets}
        return _needed_stops(self._program, self._stage, self._sizes, stops)


def _leads(program: Program, stage: Stage) -> dict[fx.Node, int]:
    """How many rows of the image each map of a stage must be ahead of the targets, whatever its height."""
    sizes = program.sizes(UNBOUNDED)
    stops = _needed_stops(program, stage, sizes, dict.fromkeys(program.targets(stage), 0))
    return {node: stop * UNBOUNDED.height // sizes[node].height for node, stop in stops.items()}


def _readers(program: Program, nodes: Collection[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Who among these operators asks for rows of a map, for each map that any of them asks for: their own,
    and those of earlier stages.
    """
    asked = {source for node in nodes for source in row_sources(program, node)}
    return {node: [reader for reader in row_readers(program, node) if reader in nodes] for node in asked}


def _is_pointwise(program: Program, node: fx.Node) -> bool:
    return isinstance(program.operators[node], Pointwise)


def _needed_stops(
    program: Program, stage: Stage, sizes: dict[fx.Node, Size], stops: dict[fx.Node, int]
) -> dict[fx.Node, int]:
    """Down to which row each map of a stage is needed, so that some of them reach these rows; 0 or less for
    none.
    """
    stops = dict(stops)
    inside = set(stage.nodes)
    for node in reversed(stage.nodes):
        if node in stops:
            op = program.operators[node]
            end = op.rows.input_range(stops[node] - 1, stops[node])[1]
            for source in op.sources:
                if source in inside:
                    end_in = min(end, sizes[source].height)
                    stops[source] = max(stops.get(source, end_in), end_in)
    return stops


# --- how high bands are ---


def choose_band_heights(
    program: Program, stage: Stage, sizes: dict[fx.Node, Size], limit: int
) -> BandHeights:
    """Band heights whose feature maps take about `limit` bytes each: enough rows to keep the arithmetic busy,
    few enough to stay in the caches and in the heap.
    """
    image = sizes[program.source]
    wide = wide_nodes(program, stage, sizes)
    weights = _row_bytes(program, stage, sizes)
    heaviest = max((weight for node, weight in weights.items() if node not in wide), default=1)
    rows = min(max(1, int(limit // heaviest)), image.height)
    heaviest = max((weights.get(node, 0.0) for node in wide), default=heaviest)
    return BandHeights(rows, min(max(1, int(limit // heaviest)), rows))


def _row_bytes(program: Program, stage: Stage, sizes: dict[fx.Node, Size]) -> dict[fx.Node, float]:
    """Bytes of each map for one row of the image; gathered ones are none."""
    height = sizes[program.source].height
    return {
        node: sizes[node].height
        / height
        * sizes[node].width
        * program.channels[node]
        * program.operators[node].dtype.itemsize
        for node in stage.nodes
        if not is_virtual_concat(program, node)
    }


def wide_nodes(program: Program, stage: Stage, sizes: dict[fx.Node, Size]) -> set[fx.Node]:
    """The wide maps of a stage, and all that is made from them."""
    weights = _row_bytes(program, stage, sizes)
    work = {
        node: program.operators[node].cost(program.channels[node]) * sizes[node].height * sizes[node].width
        for node in stage.nodes
    }
    # A convolution works on what it reads as well: in a dense block that is more than what it makes.
    handled = {
        node: max(weights.get(each, 0.0) for each in (node, *program.operators[node].sources))
        for node in stage.nodes
    }
    total, done, typical = sum(work.values()), 0.0, 0.0
    for node in sorted(stage.nodes, key=lambda n: handled[n]):
        done, typical = done + work[node], handled[node]
        if done >= total / 2:
            break
    wide: set[fx.Node] = set()
    for node in stage.nodes:
        sources = program.operators[node].sources
        if weights.get(node, 0.0) > _WIDE * typical or any(source in wide for source in sources):
            wide.add(node)
    return wide


# --- what may be written over what ---


def reusable_buffers(program: Program, stage: Stage, sizes: dict[fx.Node, Size]) -> dict[fx.Node, fx.Node]:
    """Kept maps of this stage that may take the memory of a map which nobody reads after it.

    Rows are written over those of the old map when all of its readers are past them: its readers are the new
    map's own operator, or pointwise operators above it, which are ahead of it in any stream of rows.

    Returns:
        New map -> old map.
    """
    found: dict[fx.Node, fx.Node] = {}
    old = [node for node in stage.frees if node not in stage.keeps]
    for node in stage.keeps:
        for candidate in old:
            if candidate not in found.values() and _may_replace(program, stage, sizes, node, candidate):
                found[node] = candidate
                break
    return found


def stays_in_row_buffer(program: Program, node: fx.Node) -> bool:
    """Whether a kept map may stay in the strips of rows in which it was computed: a convolution's, which can
    be told no place for its result, when all that read it read one px for one.
    """
    readers = [program.operators[user] for user in node.users if user in program.operators]
    made = isinstance(program.operators[node], Convolution)
    return made and all(isinstance(reader, Pointwise) for reader in readers)


def _may_replace(
    program: Program, stage: Stage, sizes: dict[fx.Node, Size], new: fx.Node, old: fx.Node
) -> bool:
    operators = program.operators
    if stays_in_row_buffer(program, new) != stays_in_row_buffer(program, old):
        return False
    alike = sizes[new] == sizes[old] and program.channels[new] == program.channels[old]
    if not alike or operators[new].dtype != operators[old].dtype:
        return False
    readers = [node for node in stage.nodes if old in operators[node].sources]
    if not all(_is_pointwise(program, r) and not is_virtual_concat(program, r) for r in readers):
        return False
    height = sizes[new].height
    for stop in {*range(1, min(height, 64) + 1), height}:
        ahead = _needed_stops(program, stage, sizes, {new: stop})
        if any(ahead.get(reader, 0) < stop for reader in readers):
            return False
    return True
